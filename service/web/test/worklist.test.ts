import { describe, expect, it } from "vitest";
import type { JobStatus, Slide } from "../src/api/types";
import { slideSuspicion, suspiciousClass } from "../src/pure/suspicion";
import {
  filterSlides,
  pipelineNames,
  slideState,
  sortSlides,
  visibleRows,
} from "../src/pure/worklist";

function slide(name: string, scores: Record<string, number | JobStatus> = {}): Slide {
  return {
    id: `id-${name}`,
    name,
    sha256: "",
    size_bytes: name.length,
    vendor: "aperio",
    width: 1,
    height: 1,
    levels: 1,
    mpp: null,
    magnification: null,
    created_at: "2026-01-01T00:00:00Z",
    results: Object.entries(scores).map(([pipeline, score]) => ({
      job_id: "",
      pipeline,
      model: "",
      status: typeof score === "number" ? "SUCCEEDED" : score,
      progress: 0,
      stage: "",
      outcome: typeof score === "number" ? "scored" : null,
      classes: typeof score === "number" ? ["background", "benign", "cancer"] : [],
      probabilities: typeof score === "number" ? { cancer: score } : {},
      error: null,
      finished_at: null,
    })),
  };
}

const names = (slides: readonly Slide[]) => slides.map((s) => s.name);

describe("suspicion", () => {
  it.each([
    [["background", "benign", "cancer"], "cancer"],
    [["tumor", "normal"], "tumor"],
    [["Tumour", "stroma"], "Tumour"],
    [["non-cancer", "cancer"], "cancer"],
    [["normal", "metastasis"], "metastasis"],
    [["adenocarcinoma", "benign tumour-free"], "adenocarcinoma"],
    [[], null],
  ])("of %j is the probability of %s", (classes, expected) => {
    expect(suspiciousClass(classes)).toBe(expected);
  });

  it("of a slide is the highest that any pipeline gives", () => {
    expect(slideSuspicion(slide("a", { patch: 0.2, "whole-slide": 0.7 }).results)).toBe(0.7);
    expect(slideSuspicion(slide("a", { patch: "FAILED" }).results)).toBeNull();
  });
});

describe("worklist order", () => {
  const all = [
    slide("b", { patch: 0.1 }),
    slide("c"),
    slide("a10", { patch: 0.9 }),
    slide("a9", { patch: 0.9 }),
    slide("d", { patch: "RUNNING", "whole-slide": 0.3 }),
  ];

  it("puts the most suspicious first and those without a score last", () => {
    expect(names(sortSlides(all, { key: "suspicion", descending: true }))).toEqual([
      "a9",
      "a10",
      "d",
      "b",
      "c",
    ]);
  });

  it("keeps those without a score last the other way round as well", () => {
    expect(names(sortSlides(all, { key: "suspicion", descending: false })).at(-1)).toBe("c");
  });

  it("sorts by one pipeline's score", () => {
    const order = sortSlides(all, { key: "p:whole-slide", descending: true });
    expect(names(order)[0]).toBe("d");
  });

  it("does not change what it was given", () => {
    const before = names(all);
    sortSlides(all, { key: "name", descending: false });
    expect(names(all)).toEqual(before);
  });
});

describe("worklist filter", () => {
  const all = [
    slide("Case 12 A", { patch: 0.5 }),
    slide("case 13", { patch: "FAILED" }),
    slide("x"),
  ];

  it("finds every word in any order, whatever its case", () => {
    expect(names(filterSlides(all, "12 CASE", "all"))).toEqual(["Case 12 A"]);
    expect(filterSlides(all, "nothing", "all")).toEqual([]);
  });

  it("keeps the wanted state", () => {
    expect(names(filterSlides(all, "", "failed"))).toEqual(["case 13"]);
    expect(names(filterSlides(all, "", "unscored"))).toEqual(["x"]);
  });

  it("calls a slide running while anything runs, and failed before scored", () => {
    expect(slideState(slide("s", { patch: "QUEUED", "whole-slide": "FAILED" }))).toBe("running");
    expect(slideState(slide("s", { patch: 0.3, "whole-slide": "FAILED" }))).toBe("failed");
    expect(slideState(slide("s", { patch: "CANCELLED" }))).toBe("unscored");
  });
});

describe("rows in sight", () => {
  it("covers the window and little more of thousands", () => {
    const [first, last] = visibleRows(68 * 2500, 680, 68, 5000);
    expect(first).toBe(2494);
    expect(last).toBe(2516);
  });

  it("never leaves the list", () => {
    expect(visibleRows(0, 680, 68, 3)).toEqual([0, 3]);
    expect(visibleRows(99999, 680, 68, 3)).toEqual([3, 3]);
    expect(visibleRows(0, 0, 68, 0)).toEqual([0, 0]);
  });
});

it("lists each pipeline once, the two known ones first", () => {
  const all = [slide("a", { zeta: 0.1, "whole-slide": 0.2 })];
  expect(pipelineNames(all, ["fusion", "patch"])).toEqual([
    "patch",
    "whole-slide",
    "fusion",
    "zeta",
  ]);
});

import { describe, expect, it } from "vitest";
import type { JobStatus, ReviewBrief, Slide } from "../src/api/types";
import { countsText } from "../src/pure/batch";
import { outlineEdges } from "../src/pure/outline";
import { qualityText, troubles } from "../src/pure/quality";
import { firstMap, mapNames, slideSuspicion } from "../src/pure/suspicion";
import {
  type Filter,
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
    stated_mpp: null,
    given_mpp: null,
    mpp_problem: "",
    magnification: null,
    created_at: "2026-01-01T00:00:00Z",
    stripped_sha256: null,
    stripped_at: null,
    refusal: null,
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
      malignant: typeof score === "number" ? ["cancer"] : [],
      suspicion: typeof score === "number" ? score : null,
      hotspot_total: null,
      hotspot_area_um2: null,
      hotspot_score: null,
      error: null,
      finished_at: null,
      warnings: [],
      newer_run: null,
      mpp: null,
      other_mpp: false,
    })),
    quality: null,
    review: null,
  };
}

const wanted = (filter: Partial<Filter>): Filter => ({
  words: "",
  state: "all",
  among: null,
  ...filter,
});

function reviewed(name: string, score: number, review: Partial<ReviewBrief>): Slide {
  const none = { slide_id: "", version: 1, reviewer: "", diagnosis: null, blind: false };
  return {
    ...slide(name, { patch: score }),
    review: { ...none, status: "draft", saved_at: "", ...review },
  };
}

const names = (slides: readonly Slide[]) => slides.map((s) => s.name);

describe("suspicion", () => {
  it("has a map of all malignant classes together, where they are several and add up", () => {
    const three = { classes: ["normal", "dcis", "invasive"], malignant: ["invasive", "dcis"] };
    expect(mapNames(three, "patch-probability")).toEqual([...three.classes, "all-malignant"]);
    expect(mapNames(three, "gradcam")).toEqual(three.classes);
    expect(firstMap(three, "probability")).toBe("all-malignant");
    expect(firstMap(three, "attention")).toBe("invasive");
    expect(firstMap({ classes: ["cancer", "benign"], malignant: ["cancer"] }, "probability")).toBe(
      "cancer",
    );
    expect(firstMap({ classes: ["a", "b"], malignant: [] }, "probability")).toBe("b");
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

  it("breaks ties of what is shown by the area of the hotspots, then their highest score", () => {
    const scored = (name: string, suspicion: number, area: number, score: number): Slide => {
      const [result] = slide(name, { patch: suspicion }).results;
      if (!result) throw new Error("no result");
      return {
        ...slide(name),
        results: [{ ...result, hotspot_area_um2: area, hotspot_score: score }],
      };
    };
    const tied = [
      scored("a", 0.99999, 1e4, 1),
      scored("b", 0.9992, 9e6, 0.99),
      scored("c", 1, 1e4, 0.98),
      scored("d", 0.7, 9e9, 1),
    ];
    const order = { key: "suspicion", descending: true } as const;
    expect(names(sortSlides(tied, order))).toEqual(["b", "a", "c", "d"]);
    expect(names(sortSlides(tied, { key: "p:patch", descending: false }))).toEqual([
      "d",
      "c",
      "a",
      "b",
    ]);
  });

  it("puts a slide whose suspicion is not known behind every other", () => {
    const [known, other] = [slide("known", { patch: 0.001 }), slide("a", { patch: 0.9 })];
    const unknown = { ...other, results: other.results.map((r) => ({ ...r, suspicion: null })) };
    const order = { key: "suspicion", descending: true } as const;
    expect(names(sortSlides([unknown, known], order))).toEqual(["known", "a"]);
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
    expect(names(filterSlides(all, wanted({ words: "12 CASE" })))).toEqual(["Case 12 A"]);
    expect(filterSlides(all, wanted({ words: "nothing" }))).toEqual([]);
  });

  it("keeps the wanted state", () => {
    expect(names(filterSlides(all, wanted({ state: "failed" })))).toEqual(["case 13"]);
    expect(names(filterSlides(all, wanted({ state: "unscored" })))).toEqual(["x"]);
  });

  it("keeps a batch's slides, and finds what is not signed or of poor quality", () => {
    expect(names(filterSlides(all, wanted({ among: new Set(["id-x"]) })))).toEqual(["x"]);
    const some = [
      reviewed("signed", 0.1, { status: "signed", reviewer: "A. Reader" }),
      reviewed("draft", 0.2, {}),
      { ...slide("poor"), quality: { flagged: true, usable_share: 0.2, shares: { blur: 0.8 } } },
    ];
    expect(names(filterSlides(some, wanted({ state: "unsigned" })))).toEqual(["draft", "poor"]);
    expect(names(filterSlides(some, wanted({ state: "signed" })))).toEqual(["signed"]);
    expect(names(filterSlides(some, wanted({ state: "poor" })))).toEqual(["poor"]);
    expect(names(filterSlides(some, wanted({ words: "reader" })))).toEqual(["signed"]);
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

it("a blind order says nothing of the scores of slides that are not read yet", () => {
  const all = [
    slide("a", { patch: 0.1 }),
    slide("b", { patch: 0.9 }),
    reviewed("c", 0.5, { diagnosis: "benign" }),
  ];
  const order = { key: "suspicion", descending: true } as const;
  expect(names(sortSlides(all, order))).toEqual(["b", "c", "a"]);
  const isHidden = (slide: Slide) => slide.review === null;
  expect(names(sortSlides(all, order, isHidden))).toEqual(["c", "a", "b"]);
});

it("says what covers the tissue, worst first, and counts a batch", () => {
  const shares = { blur: 0.051, fold: 0.43, dust: 0.001 };
  const quality = { flagged: true, usable_share: 0.52, shares };
  expect(troubles(quality)).toBe("folds 43 %, out of focus 5 %");
  expect(qualityText(quality)).toBe(
    "poor; 52 % of the tissue usable; folds 43 %, out of focus 5 %",
  );
  expect(countsText({ counts: { FAILED: 2, SUCCEEDED: 12 } })).toBe("12 done · 2 failed");
});

describe("outlines of a mask", () => {
  it("run along the edges of its cells in long pieces, holes too", () => {
    const mask = Uint8Array.from([1, 1, 1, 1, 2, 1, 1, 1, 1]);
    expect(outlineEdges(mask, 3, 1)).toEqual([
      [0, 0, 3, 0],
      [1, 1, 2, 1],
      [1, 2, 2, 2],
      [0, 3, 3, 3],
      [0, 0, 0, 3],
      [1, 1, 1, 2],
      [2, 1, 2, 2],
      [3, 0, 3, 3],
    ]);
    expect(outlineEdges(mask, 3, 2)).toHaveLength(4);
    expect(outlineEdges(mask, 3, 4)).toEqual([]);
  });
});

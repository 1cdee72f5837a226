import { describe, expect, it } from "vitest";
import type { Hotspot, Job, JobStatus, ResultSummary, RunBrief, Slide } from "../src/api/types";
import { failureWords } from "../src/pure/failure";
import { outcomeWords } from "../src/pure/outcome";
import { counterparts, overlap } from "../src/pure/overlap";
import { agreedBeyond, contradicted, isName } from "../src/pure/review";
import {
  filterSlides,
  needsPerson,
  rerunText,
  slideState,
  sortSlides,
  withJob,
} from "../src/pure/worklist";

const run = (status: JobStatus): RunBrief => ({
  job_id: "new",
  model: "m",
  status,
  progress: 0.42,
  stage: "",
  error_kind: null,
  error: null,
  created_at: "2026-01-01T00:00:00Z",
  finished_at: null,
});

function slide(name: string, result: Partial<ResultSummary>): Slide {
  const base: ResultSummary = {
    job_id: "old",
    pipeline: "patch",
    model: "m",
    status: "SUCCEEDED",
    progress: 1,
    stage: "",
    outcome: "scored",
    probabilities: { benign: 0.1, cancer: 0.9 },
    classes: ["benign", "cancer"],
    malignant: ["cancer"],
    suspicion: 0.9,
    hotspot_total: null,
    hotspot_area_um2: null,
    hotspot_score: null,
    error: null,
    finished_at: null,
    warnings: [],
    newer_run: null,
    mpp: null,
    other_mpp: false,
  };
  return {
    id: name,
    name,
    results: [{ ...base, ...result }],
    quality: null,
    review: null,
    vendor: "",
    created_at: "",
  } as unknown as Slide;
}

const unscored = (name: string, outcome: string) =>
  slide(name, { outcome, probabilities: {}, suspicion: null, classes: ["benign", "cancer"] });

describe("a result that exists", () => {
  it.each(["QUEUED", "RUNNING", "FAILED", "CANCELLED"] as const)(
    "stands beside a run that is %s",
    (status) => {
      const now = withJob(slide("s", {}), {
        ...run(status),
        id: "new",
        pipeline: "patch",
      } as unknown as Job);
      expect(now.results[0]?.probabilities).toEqual({ benign: 0.1, cancer: 0.9 });
      expect(now.results[0]?.status).toBe("SUCCEEDED");
      expect(now.results[0]?.newer_run?.status).toBe(status);
    },
  );

  it("is still a score in the list, and the run is told beside it", () => {
    expect(slideState(slide("s", { newer_run: run("CANCELLED") }))).toBe("scored");
    expect(slideState(slide("s", { newer_run: run("FAILED") }))).toBe("scored");
    expect(slideState(slide("s", { newer_run: run("RUNNING") }))).toBe("running");
    expect(rerunText(run("CANCELLED"))).toBe("re-run stopped");
    expect(rerunText(run("RUNNING"))).toBe("re-run 42 %");
    const filter = { words: "", state: "failed", among: null } as const;
    expect(filterSlides([slide("s", { newer_run: run("FAILED") })], filter)).toHaveLength(1);
  });
});

describe("a slide that nothing was scored on", () => {
  it.each(["no_tissue", "tissue_unclear", "something new"])("needs attention: %s", (outcome) => {
    expect(slideState(unscored("s", outcome))).toBe("person");
    expect(needsPerson(unscored("s", outcome))).toBe(true);
    expect(outcomeWords(outcome)?.sentence).toContain("scored");
  });

  it("stands neither among the negative nor among those that wait for a run", () => {
    const slides = [
      slide("waiting", { status: "QUEUED", outcome: null, probabilities: {}, suspicion: null }),
      unscored("blank", "no_tissue"),
      slide("negative", { probabilities: { benign: 1, cancer: 0 }, suspicion: 0 }),
      slide("positive", {}),
    ];
    const names = (descending: boolean) =>
      sortSlides(slides, { key: "suspicion", descending }).map(({ name }) => name);
    expect(names(true)).toEqual(["positive", "negative", "blank", "waiting"]);
    expect(names(false)).toEqual(["negative", "positive", "blank", "waiting"]);
  });
});

describe("what asks for a reason", () => {
  const spots = ["DCIS", "invasive", "DCIS"].map((class_name) => ({ class_name }) as Hotspot);
  const result = { malignant: ["invasive", "DCIS"], hotspots: spots };
  const agreed = [0, 1, 2, 7].map((index) => ({
    job_id: "j",
    index,
    decision: "agree" as const,
    comment: "",
    seen: true,
  }));
  it.each([
    ["normal", { DCIS: 2, invasive: 1 }],
    ["DCIS", { invasive: 1 }],
    ["invasive", {}],
    ["not assessable", { DCIS: 2, invasive: 1 }],
    [null, {}],
  ])("hotspots that were agreed with and are graver than %s", (diagnosis, beyond) => {
    expect(agreedBeyond(diagnosis, agreed, () => result)).toEqual(beyond);
    expect(agreedBeyond(diagnosis, agreed, () => undefined)).toEqual({});
  });

  it("is no contradiction where the slide cannot be judged", () => {
    const said = [{ pipeline: "patch", probabilities: { benign: 0.1, cancer: 0.9 } }];
    expect(contradicted("not assessable", said)).toEqual([]);
  });
});

it("takes only what has letters for a name", () => {
  for (const name of ["A", "Dr. Anna", "王", "2nd reader"]) expect(isName(name)).toBe(true);
  for (const name of ["", "1", " 12 ", "?!"]) expect(isName(name)).toBe(false);
});

describe("the same place in two runs", () => {
  const box = (x: number, y: number, side: number, class_name = "cancer") =>
    ({
      class_name,
      polygon_level0: [
        [x, y],
        [x + side, y],
        [x + side, y + side],
        [x, y + side],
        [x, y],
      ],
    }) as unknown as Hotspot;

  it("is told by how much of both outlines is shared", () => {
    const of = (a: Hotspot, b: Hotspot) => overlap(a.polygon_level0, b.polygon_level0);
    expect(of(box(0, 0, 100), box(0, 0, 100))).toBe(1);
    expect(of(box(0, 0, 100), box(50, 0, 100))).toBeCloseTo(1 / 3, 1);
    expect(of(box(0, 0, 100), box(200, 0, 100))).toBe(0);
  });

  it("is found whatever the order, once, and only of the same class", () => {
    const old = [box(0, 0, 100), box(500, 0, 100), box(900, 0, 100)];
    const now = [box(505, 0, 100), box(5, 5, 100), box(900, 0, 100, "benign")];
    expect([...counterparts(old, now)].sort()).toEqual([
      [0, 1],
      [1, 0],
    ]);
  });
});

describe("a failure", () => {
  it("shows a reader no path and no digest", () => {
    const error = "/srv/models/patch/weights.safetensors: SHA-256 is 1b2c, expected 9f2c";
    for (const kind of ["model", "slide_error", null]) {
      const { text, details } = failureWords(kind, error);
      expect(text).not.toContain("/srv");
      expect(text).toContain("Tell your administrator");
      expect(details).toBe(error);
    }
  });

  it("says what is wrong with the slide as it is", () => {
    const error = "case.svs: the file is cut off: 4000 of 1211844 bytes";
    expect(failureWords("damaged", error)).toEqual({ text: error, details: "" });
  });
});

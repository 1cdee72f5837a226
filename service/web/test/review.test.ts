import { describe, expect, it } from "vitest";
import {
  applyPatch,
  contradicted,
  decisionOf,
  firstRead,
  isEmptyPatch,
  joinPatches,
  parsePatch,
  type Review,
  type ReviewContent,
  turns,
} from "../src/pure/review";

const review: ReviewContent = {
  status: "draft",
  reviewer: "A",
  diagnosis: null,
  comment: "theirs",
  reason: "",
  blind: false,
  hotspots: [
    { job_id: "j", index: 0, decision: "agree", comment: "clear", seen: true },
    { job_id: "j", index: 1, decision: "unsure", comment: "", seen: false },
  ],
};

describe("unsaved changes", () => {
  it("leave alone what they do not speak of", () => {
    const merged = applyPatch(review, {
      hotspots: { "j/2": { decision: "disagree" } },
    });
    expect(merged.hotspots.map((spot) => spot.decision)).toEqual(["agree", "unsure", "disagree"]);
    expect(merged.comment).toBe("theirs");
  });

  it("change and take back decisions, keeping their comments", () => {
    const merged = applyPatch(review, {
      hotspots: { "j/0": { decision: "disagree" }, "j/1": { decision: null } },
    });
    expect(merged.hotspots).toEqual([
      { job_id: "j", index: 0, decision: "disagree", comment: "clear", seen: true },
    ]);
    expect(decisionOf(merged, "j", 1)).toBeNull();
  });

  it("keep a hotspot that was only looked at or commented on", () => {
    const merged = applyPatch(review, {
      hotspots: { "j/5": { seen: true }, "j/6": { comment: "ink" } },
    });
    expect(merged.hotspots.slice(2)).toEqual([
      { job_id: "j", index: 5, decision: null, comment: "", seen: true },
      { job_id: "j", index: 6, decision: null, comment: "ink", seen: false },
    ]);
  });

  it("join with the later one winning", () => {
    const joined = joinPatches(
      {
        fields: { comment: "a", diagnosis: "benign" },
        hotspots: { "j/0": { decision: "agree", seen: true } },
      },
      { fields: { comment: "b" }, hotspots: { "j/0": { decision: null } } },
    );
    expect(joined).toEqual({
      fields: { comment: "b", diagnosis: "benign" },
      hotspots: { "j/0": { decision: null, seen: true } },
      seen: {},
    });
    expect(isEmptyPatch(joined)).toBe(false);
    expect(isEmptyPatch({ fields: {}, hotspots: {} })).toBe(true);
  });

  it("come back from the browser's storage, and broken ones do not", () => {
    expect(parsePatch('{"fields":{"comment":"x"}}')).toEqual({ fields: { comment: "x" } });
    expect(parsePatch('{"hotspots":{"j/0":"agree","j/1":{"seen":true}}}')).toEqual({
      hotspots: { "j/1": { seen: true } },
    });
    expect(parsePatch("{broken")).toEqual({});
    expect(parsePatch("[1]")).toEqual({});
    expect(parsePatch(null)).toEqual({});
  });
});

it("knows which pipelines a diagnosis contradicts", () => {
  const results = [
    { pipeline: "patch", probabilities: { benign: 0.2, cancer: 0.8 } },
    { pipeline: "whole-slide", probabilities: { benign: 0.6, cancer: 0.4 } },
    { pipeline: "empty", probabilities: {} },
  ];
  expect(contradicted("benign", results)).toEqual(["patch"]);
  expect(contradicted("cancer", results)).toEqual(["whole-slide"]);
  expect(contradicted(null, results)).toEqual([]);
});

describe("what was seen when", () => {
  const version = (number: number, changes: Partial<Review>): Review => ({
    ...review,
    slide_id: "s",
    version: number,
    saved_at: null,
    saved_by: "",
    amends: null,
    model_calls: [],
    contradicts: [],
    agreed_beyond: {},
    runs: [],
    ...changes,
  });
  // Newest first, as the service sends them.
  const history = [
    version(4, { diagnosis: "cancer", status: "signed", blind: true }),
    version(3, { diagnosis: "cancer", blind: true }),
    version(2, { diagnosis: "benign", blind: true }),
    version(1, {}),
  ];

  it("begins with the first diagnosis and leaves out what changed nothing", () => {
    expect(firstRead(history)?.version).toBe(2);
    expect(turns(history).map((review) => review.version)).toEqual([2, 3, 4]);
  });

  it("is empty while nobody has chosen", () => {
    expect(firstRead([version(1, {})])).toBeNull();
    expect(turns([version(1, {})])).toEqual([]);
  });
});

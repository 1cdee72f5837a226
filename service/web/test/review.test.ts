import { describe, expect, it } from "vitest";
import {
  applyPatch,
  contradicted,
  decisionOf,
  isEmptyPatch,
  joinPatches,
  parsePatch,
  type ReviewContent,
} from "../src/pure/review";

const review: ReviewContent = {
  status: "draft",
  reviewer: "A",
  diagnosis: null,
  comment: "theirs",
  reason: "",
  blind: false,
  hotspots: [
    { job_id: "j", index: 0, decision: "agree", comment: "clear" },
    { job_id: "j", index: 1, decision: "unsure", comment: "" },
  ],
};

describe("unsaved changes", () => {
  it("leave alone what they do not speak of", () => {
    const merged = applyPatch(review, { hotspots: { "j/2": "disagree" } });
    expect(merged.hotspots.map((spot) => spot.decision)).toEqual(["agree", "unsure", "disagree"]);
    expect(merged.comment).toBe("theirs");
  });

  it("change and take back decisions, keeping their comments", () => {
    const merged = applyPatch(review, { hotspots: { "j/0": "disagree", "j/1": null } });
    expect(merged.hotspots).toEqual([
      { job_id: "j", index: 0, decision: "disagree", comment: "clear" },
    ]);
    expect(decisionOf(merged, "j", 1)).toBeNull();
  });

  it("join with the later one winning", () => {
    const joined = joinPatches(
      { fields: { comment: "a", diagnosis: "benign" }, hotspots: { "j/0": "agree" } },
      { fields: { comment: "b" }, hotspots: { "j/0": null } },
    );
    expect(joined).toEqual({
      fields: { comment: "b", diagnosis: "benign" },
      hotspots: { "j/0": null },
    });
    expect(isEmptyPatch(joined)).toBe(false);
    expect(isEmptyPatch({ fields: {}, hotspots: {} })).toBe(true);
  });

  it("come back from the browser's storage, and broken ones do not", () => {
    expect(parsePatch('{"fields":{"comment":"x"}}')).toEqual({ fields: { comment: "x" } });
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

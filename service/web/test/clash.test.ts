import { describe, expect, it } from "vitest";
import { changesOf } from "../src/pure/changes";
import { clashes, clashText, patchText, seenBy, withoutClashes, withSeen } from "../src/pure/clash";
import { applyPatch, joinPatches, type Review, type ReviewPatch } from "../src/pure/review";

const review = (changes: Partial<Review> = {}): Review => ({
  slide_id: "s",
  version: 1,
  saved_at: null,
  saved_by: "",
  amends: null,
  model_calls: [],
  contradicts: [],
  agreed_beyond: {},
  runs: [],
  status: "draft",
  reviewer: "B",
  diagnosis: null,
  comment: "",
  reason: "",
  blind: false,
  hotspots: [],
  ...changes,
});
const spot = (index: number, decision: "agree" | "disagree" | null, comment = "") => ({
  job_id: "j",
  index,
  decision,
  comment,
  seen: true,
});
const made = (patch: ReviewPatch, seen: Review): ReviewPatch => ({
  ...patch,
  seen: seenBy(patch, seen),
});

describe("a clash", () => {
  const patch = made(
    { fields: { diagnosis: "cancer" }, hotspots: { "j/0": { decision: "agree", seen: true } } },
    review(),
  );

  it("is what both changed, each otherwise", () => {
    expect(clashes(patch, review())).toEqual([]);
    expect(clashes(patch, review({ comment: "hm", hotspots: [spot(1, "agree")] }))).toEqual([]);
    expect(clashes(patch, review({ diagnosis: "cancer" }))).toEqual([]);
    const now = review({ diagnosis: "benign", hotspots: [spot(0, "disagree")] });
    expect(clashes(patch, now).map(({ part }) => part)).toEqual(["diagnosis", "j/0/decision"]);
    expect(clashText(clashes(patch, now), now)).toBe(
      "The diagnosis: B put “benign”, you “cancer”. Hotspot 1: B put “disagree”, you “agree”.",
    );
  });

  it("ends with either's word, and what does not clash is kept", () => {
    const now = review({ diagnosis: "benign" });
    const theirs = withoutClashes(patch, now);
    expect(applyPatch(now, theirs)).toMatchObject({
      diagnosis: "benign",
      hotspots: [spot(0, "agree")],
    });
    expect(clashes(theirs, now)).toEqual([]);
    const mine = withSeen(patch, now);
    expect(clashes(mine, now)).toEqual([]);
    expect(applyPatch(now, mine).diagnosis).toBe("cancer");
  });

  it("is measured from what the reader saw first", () => {
    const later = made({ fields: { diagnosis: "benign" } }, review({ diagnosis: "cancer" }));
    expect(joinPatches(patch, later).seen?.["diagnosis"]).toBeNull();
  });
});

it("what a patch says is said in words", () => {
  expect(patchText({ hotspots: { "j/0": { seen: true } } })).toBe("");
  expect(
    patchText({
      fields: { diagnosis: "cancer", comment: "x" },
      hotspots: { "j/0": { decision: "agree" }, "j/1": { comment: "y" } },
    }),
  ).toBe("the diagnosis “cancer”, your comment and your decision on 2 hotspots");
});

it("a version's changes are told one by one", () => {
  const first = review({ diagnosis: "benign", hotspots: [spot(0, "agree"), spot(1, "agree")] });
  expect(changesOf(first, null)).toEqual(["Diagnosis: benign", "Hotspots 1, 2: agree"]);
  const signed = review({
    status: "signed",
    diagnosis: "cancer",
    reason: "seen again",
    comment: "deep",
    hotspots: [spot(0, "disagree"), spot(1, null, "ink")],
  });
  expect(changesOf(signed, first)).toEqual([
    "Diagnosis: benign → cancer",
    "Hotspot 1: disagree",
    "Hotspot 2: decision withdrawn",
    "Hotspot 2: “ink”",
    "Comment: deep",
    "Reason: seen again",
  ]);
  expect(changesOf(first, first)).toEqual([]);
});

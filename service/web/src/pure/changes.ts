import { type Review, type ReviewContent, recordOf } from "./review";

/** What a version of a review changed, one sentence each; `before` is null for the first. */
export function changesOf(review: Review, before: Review | null): string[] {
  const found: string[] = [];
  if (review.diagnosis !== (before?.diagnosis ?? null)) {
    found.push(
      `Diagnosis: ${before?.diagnosis ? `${before.diagnosis} → ` : ""}${review.diagnosis}`,
    );
  }
  found.push(...decisions(review, before));
  if (review.comment !== (before?.comment ?? "")) {
    found.push(review.comment === "" ? "Comment removed" : `Comment: ${review.comment}`);
  }
  if (review.status === "signed" && review.reason !== "") found.push(`Reason: ${review.reason}`);
  return found;
}

/** One line a decision: many hotspots that were agreed with are one sentence. */
function decisions(review: ReviewContent, before: ReviewContent | null): string[] {
  const groups = new Map<string, number[]>();
  const comments: string[] = [];
  for (const { job_id, index, decision, comment } of review.hotspots) {
    const old = before ? recordOf(before, job_id, index) : undefined;
    if (decision !== (old?.decision ?? null)) {
      const said = decision ?? "decision withdrawn";
      groups.set(said, [...(groups.get(said) ?? []), index + 1]);
    }
    if (comment !== (old?.comment ?? "")) {
      comments.push(`Hotspot ${index + 1}: ${comment === "" ? "comment removed" : `“${comment}”`}`);
    }
  }
  const said = [...groups].map(
    ([decision, spots]) =>
      `${spots.length === 1 ? "Hotspot" : "Hotspots"} ${spots.join(", ")}: ${decision}`,
  );
  return [...said, ...comments];
}

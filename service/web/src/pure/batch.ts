import type { Batch } from "../api/types";

const WORDS = [
  ["SUCCEEDED", "done"],
  ["RUNNING", "running"],
  ["QUEUED", "waiting"],
  ["ARRIVING", "being checked"],
  ["FAILED", "failed"],
  ["CANCELLED", "stopped"],
  ["REFUSED", "refused"],
] as const;

/** "12 done · 3 running · 2 failed". */
export function countsText({ counts }: Pick<Batch, "counts">): string {
  return WORDS.flatMap(([status, word]) =>
    counts[status] ? [`${counts[status]} ${word}`] : [],
  ).join(" · ");
}

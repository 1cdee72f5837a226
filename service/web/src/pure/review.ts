import type { Decision, HotspotDecision, Review, SlideResult } from "../api/types";

/** What a reader decides about a slide, and how unsaved changes find their way onto newer versions. */

export type { Decision, HotspotDecision, Review } from "../api/types";

/** What of a hotspot's record changes. */
export type HotspotMark = Partial<Pick<HotspotDecision, "decision" | "comment" | "seen">>;

export type ReviewContent = Pick<
  Review,
  "status" | "reviewer" | "diagnosis" | "comment" | "reason" | "blind" | "hotspots"
> & {
  /** For a signature: the jobs whose results were in sight. */
  readonly shown_runs?: readonly string[];
};

/** The diagnosis of a slide that allows none; it needs a reason. */
export const NOT_ASSESSABLE = "not assessable";

/** Changes that are not saved yet: single fields, and marks of hotspots by "job/index". */
export interface ReviewPatch {
  readonly fields?: Partial<Omit<ReviewContent, "hotspots">>;
  readonly hotspots?: Readonly<Record<string, HotspotMark>>;
  /** What the review said where the reader changed it, by part (see clash.ts). */
  readonly seen?: Readonly<Record<string, string | null>>;
}

export const spotKey = (jobId: string, index: number): string => `${jobId}/${index}`;

export const isEmptyPatch = (patch: ReviewPatch): boolean =>
  Object.keys(patch.fields ?? {}).length === 0 && Object.keys(patch.hotspots ?? {}).length === 0;

/** Two patches as one; the later wins where both speak. */
export function joinPatches(earlier: ReviewPatch, later: ReviewPatch): ReviewPatch {
  const hotspots: Record<string, HotspotMark> = { ...earlier.hotspots };
  for (const [key, mark] of Object.entries(later.hotspots ?? {})) {
    hotspots[key] = { ...hotspots[key], ...mark };
  }
  const seen = { ...later.seen, ...earlier.seen };
  return { fields: { ...earlier.fields, ...later.fields }, hotspots, seen };
}

/**
 * The review with the patch on top. What the patch does not speak of stays as it is: so two readers
 * of one slide keep each other's decisions.
 */
export function applyPatch(review: ReviewContent, patch: ReviewPatch): ReviewContent {
  const spots = new Map(review.hotspots.map((spot) => [spotKey(spot.job_id, spot.index), spot]));
  for (const [key, mark] of Object.entries(patch.hotspots ?? {})) {
    const cut = key.lastIndexOf("/");
    const spot: HotspotDecision = {
      job_id: key.slice(0, cut),
      index: Number(key.slice(cut + 1)),
      decision: null,
      comment: "",
      seen: false,
      ...spots.get(key),
      ...mark,
    };
    // A record that says nothing is none.
    if (spot.decision === null && spot.comment === "" && !spot.seen) spots.delete(key);
    else spots.set(key, spot);
  }
  const { status, reviewer, diagnosis, comment, reason, blind } = { ...review, ...patch.fields };
  const shown_runs = patch.fields?.shown_runs;
  return {
    status,
    reviewer,
    diagnosis,
    comment,
    reason,
    blind,
    hotspots: [...spots.values()],
    ...(shown_runs ? { shown_runs } : {}),
  };
}

/** What is recorded of one hotspot, if anything. */
export const recordOf = (
  review: ReviewContent,
  jobId: string,
  index: number,
): HotspotDecision | undefined =>
  review.hotspots.find((spot) => spot.job_id === jobId && spot.index === index);

export const decisionOf = (review: ReviewContent, jobId: string, index: number): Decision | null =>
  recordOf(review, jobId, index)?.decision ?? null;

/** The version in which a diagnosis was first chosen: what the reader thought before all else. */
export function firstRead(history: readonly Review[]): Review | null {
  const oldestFirst = [...history].sort((a, b) => a.version - b.version);
  return oldestFirst.find((review) => review.diagnosis !== null) ?? null;
}

/** The versions in which the diagnosis, its reader or the state changed, oldest first. */
export function turns(history: readonly Review[]): Review[] {
  const oldestFirst = [...history].sort((a, b) => a.version - b.version);
  return oldestFirst.filter((review, at) => {
    const before = oldestFirst[at - 1];
    if (review.diagnosis === null && before === undefined) return false;
    const another =
      review.diagnosis !== null && !!before?.reviewer && review.reviewer !== before.reviewer;
    const changed = review.diagnosis !== (before?.diagnosis ?? null);
    return changed || another || review.status === "signed";
  });
}

/** The pipelines whose most probable class is not the diagnosis. */
export function contradicted(
  diagnosis: string | null,
  results: Iterable<{
    readonly pipeline: string;
    readonly probabilities: Readonly<Record<string, number>>;
  }>,
): string[] {
  if (diagnosis === null || diagnosis === NOT_ASSESSABLE) return [];
  const names: string[] = [];
  for (const { pipeline, probabilities } of results) {
    const best = Object.entries(probabilities).reduce<[string, number] | null>(
      (top, entry) => (top && top[1] >= entry[1] ? top : entry),
      null,
    );
    if (best && best[0] !== diagnosis) names.push(pipeline);
  }
  return names;
}

/**
 * How many hotspots of which class the reader agreed with although the diagnosis says less.
 */
export function agreedBeyond(
  diagnosis: string | null,
  decisions: readonly HotspotDecision[],
  resultOf: (jobId: string) => Pick<SlideResult, "hotspots" | "malignant"> | undefined,
): Record<string, number> {
  const found: Record<string, number> = {};
  if (diagnosis === null) return found;
  for (const { job_id, index, decision } of decisions) {
    const result = resultOf(job_id);
    const name = result?.hotspots[index]?.class_name;
    if (decision !== "agree" || !result || name === undefined) continue;
    const { malignant } = result;
    if (severity(name, malignant) <= severity(diagnosis, malignant)) continue;
    found[name] = (found[name] ?? 0) + 1;
  }
  return found;
}

/** 0 for what is not malignant; all malignant classes together weigh as the least of them. */
function severity(name: string, malignant: readonly string[]): number {
  if (name === "all-malignant") return 1;
  const place = malignant.indexOf(name);
  return place < 0 ? 0 : malignant.length - place;
}

/** Whether a text can be somebody's name: a digit alone was meant for the diagnosis. */
export const isName = (text: string): boolean => /\p{L}/u.test(text);

/** Unsaved changes as they were kept in the browser; whatever makes no sense is dropped. */
export function parsePatch(text: string | null): ReviewPatch {
  if (text === null) return {};
  try {
    const data: unknown = JSON.parse(text);
    if (!data || typeof data !== "object" || Array.isArray(data)) return {};
    const { fields, hotspots, seen } = data as Record<string, unknown>;
    const isMark = ([, mark]: [string, unknown]) => mark !== null && typeof mark === "object";
    return {
      ...(fields && typeof fields === "object" ? { fields } : {}),
      ...(hotspots && typeof hotspots === "object"
        ? { hotspots: Object.fromEntries(Object.entries(hotspots).filter(isMark)) }
        : {}),
      ...(seen && typeof seen === "object" ? { seen: seen as Record<string, string | null> } : {}),
    };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return {};
  }
}

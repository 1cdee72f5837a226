/** What a reader decides about a slide, and how unsaved changes find their way onto newer versions. */

export type Decision = "agree" | "disagree" | "unsure";

export interface HotspotDecision {
  readonly job_id: string;
  readonly index: number;
  readonly decision: Decision;
  readonly comment: string;
}

export interface ModelCall {
  readonly pipeline: string;
  readonly model: string;
  readonly job_id: string;
  readonly class_name: string;
  readonly probability: number;
}

export interface ReviewContent {
  readonly status: "draft" | "signed";
  readonly reviewer: string;
  readonly diagnosis: string | null;
  readonly comment: string;
  readonly reason: string;
  readonly blind: boolean;
  readonly hotspots: readonly HotspotDecision[];
}

export interface Review extends ReviewContent {
  readonly slide_id: string;
  readonly version: number;
  readonly saved_at: string | null;
  readonly amends: number | null;
  readonly model_calls: readonly ModelCall[];
  readonly contradicts: readonly string[];
}

/** Changes that are not saved yet: single fields, and decisions by "job/index" (null: taken back). */
export interface ReviewPatch {
  readonly fields?: Partial<Omit<ReviewContent, "hotspots">>;
  readonly hotspots?: Readonly<Record<string, Decision | null>>;
}

export const spotKey = (jobId: string, index: number): string => `${jobId}/${index}`;

export const isEmptyPatch = (patch: ReviewPatch): boolean =>
  Object.keys(patch.fields ?? {}).length === 0 && Object.keys(patch.hotspots ?? {}).length === 0;

/** Two patches as one; the later wins where both speak. */
export function joinPatches(earlier: ReviewPatch, later: ReviewPatch): ReviewPatch {
  return {
    fields: { ...earlier.fields, ...later.fields },
    hotspots: { ...earlier.hotspots, ...later.hotspots },
  };
}

/**
 * The review with the patch on top. What the patch does not speak of stays as it is: so two readers
 * of one slide keep each other's decisions.
 */
export function applyPatch(review: ReviewContent, patch: ReviewPatch): ReviewContent {
  const decisions = new Map(
    review.hotspots.map((spot) => [spotKey(spot.job_id, spot.index), spot]),
  );
  for (const [key, decision] of Object.entries(patch.hotspots ?? {})) {
    const cut = key.lastIndexOf("/");
    const before = decisions.get(key);
    if (decision === null) decisions.delete(key);
    else {
      decisions.set(key, {
        job_id: key.slice(0, cut),
        index: Number(key.slice(cut + 1)),
        decision,
        comment: before?.comment ?? "",
      });
    }
  }
  const { status, reviewer, diagnosis, comment, reason, blind } = { ...review, ...patch.fields };
  return {
    status,
    reviewer,
    diagnosis,
    comment,
    reason,
    blind,
    hotspots: [...decisions.values()],
  };
}

export function decisionOf(review: ReviewContent, jobId: string, index: number): Decision | null {
  return (
    review.hotspots.find((spot) => spot.job_id === jobId && spot.index === index)?.decision ?? null
  );
}

/** The pipelines whose most probable class is not the diagnosis. */
export function contradicted(
  diagnosis: string | null,
  results: Iterable<{
    readonly pipeline: string;
    readonly probabilities: Readonly<Record<string, number>>;
  }>,
): string[] {
  if (diagnosis === null) return [];
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

/** Unsaved changes as they were kept in the browser; whatever makes no sense is dropped. */
export function parsePatch(text: string | null): ReviewPatch {
  if (text === null) return {};
  try {
    const data: unknown = JSON.parse(text);
    if (!data || typeof data !== "object" || Array.isArray(data)) return {};
    const { fields, hotspots } = data as { fields?: unknown; hotspots?: unknown };
    return {
      ...(fields && typeof fields === "object" ? { fields } : {}),
      ...(hotspots && typeof hotspots === "object"
        ? { hotspots: hotspots as Record<string, Decision | null> }
        : {}),
    };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return {};
  }
}

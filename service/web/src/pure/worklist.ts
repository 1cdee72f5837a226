import type { Job, ResultSummary, RunBrief, Slide } from "../api/types";
import { outcomeWords } from "./outcome";
import { compareRanks, suspicionRank } from "./suspicion";

/** What the worklist shows and in which order. */

export type SortKey =
  | "suspicion"
  | "name"
  | "created"
  | "quality"
  | "state"
  | "review"
  | `p:${string}`;

export interface Order {
  readonly key: SortKey;
  readonly descending: boolean;
}

export type SlideState = "unscored" | "running" | "scored" | "failed" | "person";

/** What a reader looks for: a state of the slide, of its quality, or of its review. */
export type StateFilter = "all" | SlideState | "unsigned" | "draft" | "signed" | "poor";

export interface Filter {
  readonly words: string;
  readonly state: StateFilter;
  /** Ids of the wanted slides (those of a batch), or null for all. */
  readonly among: ReadonlySet<string> | null;
}

/** Whether a reader must not see yet what models and other readers say of a slide. */
export type Hides = (slide: Slide) => boolean;

/**
 * One word for where a slide stands: work in progress first, then failures, then what was not
 * scored and needs attention, then results. A result that exists is not hidden by a later run.
 */
export function slideState(slide: Slide): SlideState {
  const states = slide.results.map((result) => result.status);
  const runs = slide.results.map((result) => result.newer_run?.status);
  if ([...states, ...runs].some((s) => s === "QUEUED" || s === "RUNNING")) return "running";
  if (states.some((s) => s === "FAILED")) return "failed";
  if (needsPerson(slide)) return "person";
  return states.some((s) => s === "SUCCEEDED") ? "scored" : "unscored";
}

/** Whether a pipeline looked at the slide and scored nothing. */
export const needsPerson = (slide: Slide): boolean =>
  slide.results.some((result) => outcomeWords(result.outcome) !== null);

/** What to say of a run that came after a result that stands; null where there is none. */
export function rerunText(run: RunBrief | null): string | null {
  if (!run) return null;
  const share = Math.round(run.progress * 100);
  const words = {
    QUEUED: "re-run waiting",
    RUNNING: `re-run ${share} %`,
    FAILED: "re-run failed",
    CANCELLED: "re-run stopped",
    SUCCEEDED: null,
  };
  return words[run.status];
}

const STATE_RANK: Readonly<Record<SlideState, number>> = {
  failed: 4,
  person: 3,
  running: 2,
  scored: 1,
  unscored: 0,
};

/** Slides that nothing scored stand together: after all that have a score, before the rest. */
function group(slide: Slide, key: SortKey): number {
  const results = key.startsWith("p:")
    ? slide.results.filter((r) => r.pipeline === key.slice(2))
    : slide.results;
  const isScore = key === "suspicion" || key.startsWith("p:");
  return isScore && results.some((r) => outcomeWords(r.outcome) !== null) ? 0 : 1;
}

type SortValue = number | string | readonly number[] | null;

function sortValue(slide: Slide, key: SortKey, isHidden: Hides): SortValue {
  if ((key === "suspicion" || key.startsWith("p:")) && isHidden(slide)) return null;
  if (key.startsWith("p:")) {
    return suspicionRank(slide.results.filter((r) => r.pipeline === key.slice(2)));
  }
  switch (key) {
    case "suspicion":
      return suspicionRank(slide.results);
    case "name":
      return slide.name.toLowerCase();
    case "created":
      return slide.created_at;
    case "quality":
      return slide.quality && 1 - slide.quality.usable_share + (slide.quality.flagged ? 1 : 0);
    case "review":
      return { signed: 2, draft: 1, none: 0 }[slide.review?.status ?? "none"];
    default:
      return STATE_RANK[slideState(slide)];
  }
}

function compareValues(a: NonNullable<SortValue>, b: NonNullable<SortValue>): number {
  if (typeof a === "object" && typeof b === "object") return compareRanks(a, b);
  return a === b ? 0 : a < b ? -1 : 1;
}

const NAMES = new Intl.Collator("en", { numeric: true });

/**
 * A sorted copy. Slides without a value come last whichever way it goes; ties keep name order.
 *
 * @param isHidden scores of these slides count as unknown.
 */
export function sortSlides(
  slides: readonly Slide[],
  order: Order,
  isHidden: Hides = () => false,
): Slide[] {
  const keyed = slides.map((slide) => ({ slide, value: sortValue(slide, order.key, isHidden) }));
  const sign = order.descending ? -1 : 1;
  keyed.sort((a, b) => {
    if (a.value === null || b.value === null) {
      if (a.value !== b.value) return a.value === null ? 1 : -1;
      const apart = group(a.slide, order.key) - group(b.slide, order.key);
      if (apart !== 0) return apart;
    } else {
      const order = compareValues(a.value, b.value);
      if (order !== 0) return order * sign;
    }
    return NAMES.compare(a.slide.name, b.slide.name);
  });
  return keyed.map(({ slide }) => slide);
}

/** Slides whose name, id, vendor or reviewer contains every word, in the wanted state. */
export function filterSlides(slides: readonly Slide[], filter: Filter): readonly Slide[] {
  const wanted = filter.words.toLowerCase().split(/\s+/).filter(Boolean);
  return slides.filter((slide) => {
    if (filter.among && !filter.among.has(slide.id)) return false;
    if (!isInState(slide, filter.state)) return false;
    const reviewer = slide.review?.reviewer ?? "";
    const text = `${slide.name} ${slide.id} ${slide.vendor} ${reviewer}`.toLowerCase();
    return wanted.every((word) => text.includes(word));
  });
}

function isInState(slide: Slide, state: StateFilter): boolean {
  switch (state) {
    case "all":
      return true;
    case "unsigned":
      return slide.review?.status !== "signed";
    case "draft":
    case "signed":
      return slide.review?.status === state;
    case "poor":
      return slide.quality?.flagged ?? false;
    case "person":
      return needsPerson(slide);
    case "failed":
      return (
        slideState(slide) === state || slide.results.some((r) => r.newer_run?.status === "FAILED")
      );
    default:
      return slideState(slide) === state;
  }
}

/** Every pipeline that a slide or a model knows of; "patch" and "whole-slide" lead. */
export function pipelineNames(slides: readonly Slide[], models: readonly string[]): string[] {
  const rank = (name: string) => ["patch", "whole-slide"].indexOf(name) >>> 0;
  const names = new Set([...models, ...slides.flatMap((s) => s.results.map((r) => r.pipeline))]);
  return [...names].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}

/** First and one past the last row to keep in the document. */
export function visibleRows(
  scrollTop: number,
  height: number,
  rowHeight: number,
  count: number,
  overscan = 6,
): readonly [number, number] {
  const first = Math.max(0, Math.floor(scrollTop / rowHeight) - overscan);
  const last = Math.min(count, Math.ceil((scrollTop + height) / rowHeight) + overscan);
  return [Math.min(first, count), Math.max(last, Math.min(first, count))];
}

/** The slide as it looks with this job as its pipeline's newest: a result that exists stands. */
export function withJob(slide: Slide, job: Job): Slide {
  const before = slide.results.find((result) => result.pipeline === job.pipeline);
  const others = slide.results.filter((other) => other.pipeline !== job.pipeline);
  if (before?.status === "SUCCEEDED" && job.status !== "SUCCEEDED") {
    const newer_run: RunBrief = {
      job_id: job.id,
      model: job.model,
      status: job.status,
      progress: job.progress,
      stage: job.stage,
      error_kind: job.error_kind,
      error: job.error,
      created_at: job.created_at,
      finished_at: job.finished_at,
    };
    return { ...slide, results: [...others, { ...before, newer_run }] };
  }
  const result: ResultSummary = {
    job_id: job.id,
    pipeline: job.pipeline,
    model: job.model,
    status: job.status,
    progress: job.progress,
    stage: job.stage,
    outcome: null,
    probabilities: {},
    classes: before?.classes ?? [],
    malignant: before?.malignant ?? [],
    suspicion: null,
    hotspot_total: null,
    hotspot_area_um2: null,
    hotspot_score: null,
    error: job.error,
    finished_at: job.finished_at,
    warnings: [],
    newer_run: null,
    mpp: null,
    other_mpp: false,
  };
  return { ...slide, results: [...others, result] };
}

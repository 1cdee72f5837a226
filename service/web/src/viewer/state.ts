import type { Job, Model, Slide, SlideResult } from "../api/types";
import { NOT_ASSESSABLE } from "../pure/review";
import { mapNames } from "../pure/suspicion";
import { pipelineNames } from "../pure/worklist";
import { loadSettings, type Settings } from "../settings";
import { fitChoice, type LayerChoice, operatingPoint } from "./choice";
import type { TissueLayer } from "./tissue";

/** single: one view; side: two locked views; swipe: one view with a divider. */
export type Mode = "single" | "side" | "swipe";

/** Everything the viewer's parts share. The page owns it and tells the parts to show it. */
export interface ViewerState {
  slide: Slide;
  readonly settings: Settings;
  /** Whatever the service knows to run, in the order in which it is shown. */
  pipelines: string[];
  models: readonly Model[];
  /** Pipelines for which a model exists; null before that is known. */
  modelled: ReadonlySet<string> | null;
  /** The newest job of each pipeline. */
  readonly jobs: Map<string, Job>;
  /** Every job of the slide that has a result, newest first. */
  finished: Job[];
  /** The jobs that the signature stands on, which are shown; null while the slide is not signed. */
  signedRuns: ReadonlySet<string> | null;
  /** The reader looks at what came after the signature. */
  newer: boolean;
  /** Results that were read, by job. */
  readonly results: Map<string, SlideResult>;
  tissue: TissueLayer[];
  mode: Mode;
  overlay: boolean;
  held: boolean;
  readonly choices: [LayerChoice | null, LayerChoice | null];
  /** Which of the two choices the controls change. */
  active: 0 | 1;
  hotspot: number | null;
  /** The model's answer is hidden until the reader has decided. */
  hidden: boolean;
}

/**
 * The result of each pipeline that counts and is here, in the pipelines' order: the newest, or on a
 * signed slide the one that was signed.
 */
export function newestResults(state: ViewerState): SlideResult[] {
  const signed = state.newer ? null : state.signedRuns;
  return state.pipelines.flatMap((name) => {
    const job = state.finished.find(
      (j) => j.pipeline === name && state.results.has(j.id) && (!signed || signed.has(j.id)),
    );
    const result = job && state.results.get(job.id);
    return result ? [result] : [];
  });
}

/** What a slide may be signed as. */
export function diagnoses(state: ViewerState): string[] {
  // Also where nothing was scored: of the models that looked, and not of all that there are.
  const scored = newestResults(state).flatMap((result) => result.classes);
  const known = scored.length > 0 ? scored : state.models.flatMap((model) => model.classes);
  // A patch may be background; a slide is never that.
  const classes = [...new Set(known)].filter((name) => name !== "background");
  return [...classes, NOT_ASSESSABLE];
}

/** The newest run of each pipeline that came after the signature. */
export function runsSinceSigned(state: ViewerState): Job[] {
  const { signedRuns, finished } = state;
  if (!signedRuns) return [];
  const newest = new Map<string, Job>();
  for (const job of finished) if (!newest.has(job.pipeline)) newest.set(job.pipeline, job);
  return [...newest.values()].filter((job) => !signedRuns.has(job.id));
}

/** The active view's choice with its next pipeline, kind or class; null where it shows no map. */
export function nextChoice(
  state: ViewerState,
  what: "pipeline" | "kind" | "className",
): LayerChoice | null {
  const choice = state.choices[state.active];
  const result = choice && state.results.get(choice.jobId);
  if (!choice || !result) return null;
  const after = <T>(all: readonly T[], at: number) => all[(at + 1) % all.length];
  if (what === "pipeline") {
    const all = newestResults(state);
    const next = after(
      all,
      all.findIndex(({ pipeline }) => pipeline === choice.pipeline),
    );
    return next ? fitChoice(next, choice) : null;
  }
  const maps = mapNames(result, choice.kind);
  if (what === "className") {
    const next = after(maps, maps.indexOf(choice.className));
    return next ? { ...choice, className: next } : null;
  }
  const kind = after(result.layers, result.layers.indexOf(choice.kind));
  return kind ? fitChoice(result, { ...choice, kind }) : null;
}

/** The result whose hotspots are listed: that of the active view, else the first there is. */
export function hotspotResult(state: ViewerState): SlideResult | null {
  if (state.hidden) return null;
  const chosen = state.choices[state.active] ?? state.choices[0];
  const result = chosen && state.results.get(chosen.jobId);
  return result ?? newestResults(state)[0] ?? null;
}

/** Score from which the active view's heatmap is shown, and that of its model. */
export function threshold(state: ViewerState): { readonly now: number; readonly model: number } {
  const choice = state.choices[state.active] ?? state.choices[0];
  const result = choice ? state.results.get(choice.jobId) : undefined;
  const model = operatingPoint(result, choice?.kind ?? "probability");
  return { now: state.settings.threshold ?? model, model };
}

/** The view whose hotspots are listed. */
export function listedView(state: ViewerState): 0 | 1 {
  return state.choices[state.active] ? state.active : 0;
}

/** The result whose hotspots a view draws: its own heatmap's and no other. */
export function drawnResult(state: ViewerState, view: 0 | 1): SlideResult | null {
  if (state.hidden) return null;
  if (view === listedView(state)) return hotspotResult(state);
  const choice = state.choices[view];
  return (choice && state.results.get(choice.jobId)) ?? null;
}

/** As a slide opens. */
export function firstState(slide: Slide): ViewerState {
  const settings = loadSettings();
  return {
    slide,
    settings,
    pipelines: pipelineNames([slide], []),
    models: [],
    modelled: null,
    jobs: new Map(),
    finished: [],
    signedRuns: null,
    newer: false,
    tissue: [],
    results: new Map(),
    mode: "single",
    overlay: settings.overlayAtOpen,
    held: false,
    choices: [null, null],
    active: 0,
    hotspot: null,
    hidden: false,
  };
}

import type { Job, Slide, SlideResult } from "../api/types";
import type { Settings } from "../settings";
import type { LayerChoice } from "./choice";

/** single: one view; side: two locked views; swipe: one view with a divider. */
export type Mode = "single" | "side" | "swipe";

/** Everything the viewer's parts share. The page owns it and tells the parts to show it. */
export interface ViewerState {
  slide: Slide;
  readonly settings: Settings;
  /** Whatever the service knows to run, in the order in which it is shown. */
  pipelines: string[];
  /** Pipelines for which a model exists; null before that is known. */
  modelled: ReadonlySet<string> | null;
  readonly jobs: Map<string, Job>;
  readonly results: Map<string, SlideResult>;
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

/** The result whose hotspots are listed: that of the active view, else the first there is. */
export function hotspotResult(state: ViewerState): SlideResult | null {
  if (state.hidden) return null;
  const chosen = state.choices[state.active] ?? state.choices[0];
  const result = chosen && state.results.get(chosen.pipeline);
  return result ?? [...state.results.values()][0] ?? null;
}

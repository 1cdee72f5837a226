import type { SlideResult } from "../api/types";
import { firstMap, mapNames } from "../pure/suspicion";

/** Which heatmap a view shows; null shows the bare slide. */
export interface LayerChoice {
  /** Whose result: a pipeline may have several, by different models. */
  readonly jobId: string;
  readonly pipeline: string;
  readonly kind: string;
  /** One of `mapNames`: a class, or all malignant ones together. */
  readonly className: string;
}

type Layered = Pick<SlideResult, "job_id" | "pipeline" | "classes" | "malignant" | "layers">;

/** The first thing to show of a result: what is malignant, probability before Grad-CAM. */
export function firstChoice(result: Layered): LayerChoice | null {
  const kind = result.layers.includes("probability") ? "probability" : result.layers[0];
  return kind ? withKind(result, kind) : null;
}

/** The wanted choice as far as this result has it. */
export function fitChoice(result: Layered, wanted: LayerChoice | null): LayerChoice | null {
  const first = firstChoice(result);
  if (!first || !wanted) return first;
  const fitting = result.layers.includes(wanted.kind) ? withKind(result, wanted.kind) : first;
  if (!fitting || !mapNames(result, fitting.kind).includes(wanted.className)) return fitting;
  return { ...fitting, className: wanted.className };
}

/** Other kinds of map have no operating point: enough to leave out what is hardly looked at. */
const ELSE = 0.3;

/** Score from which a place of this map counts: for probabilities, that of the hotspots. */
export function operatingPoint(
  result: Pick<SlideResult, "hotspot_threshold"> | undefined,
  kind: string,
): number {
  if (!/(^|-)probability$/.test(kind)) return ELSE;
  return result?.hotspot_threshold ?? 0.5;
}

function withKind(result: Layered, kind: string): LayerChoice | null {
  const className = firstMap(result, kind);
  const { job_id: jobId, pipeline } = result;
  return className ? { jobId, pipeline, kind, className } : null;
}

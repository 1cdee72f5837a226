import type { SlideResult } from "../api/types";
import { suspiciousClass } from "../pure/suspicion";

/** Which heatmap a view shows; null shows the bare slide. */
export interface LayerChoice {
  /** Whose result: a pipeline may have several, by different models. */
  readonly jobId: string;
  readonly pipeline: string;
  readonly kind: string;
  readonly className: string;
}

type Layered = Pick<SlideResult, "job_id" | "pipeline" | "classes" | "layers">;

/** The first thing to show of a result: the suspicious class, probability before Grad-CAM. */
export function firstChoice(result: Layered): LayerChoice | null {
  const kind = result.layers.includes("probability") ? "probability" : result.layers[0];
  const className = suspiciousClass(result.classes);
  const { job_id: jobId, pipeline } = result;
  return kind && className ? { jobId, pipeline, kind, className } : null;
}

/** The wanted choice as far as this result has it. */
export function fitChoice(result: Layered, wanted: LayerChoice | null): LayerChoice | null {
  const first = firstChoice(result);
  if (!first || !wanted) return first;
  return {
    ...first,
    kind: result.layers.includes(wanted.kind) ? wanted.kind : first.kind,
    className: result.classes.includes(wanted.className) ? wanted.className : first.className,
  };
}

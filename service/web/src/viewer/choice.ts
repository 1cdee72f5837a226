import type { SlideResult } from "../api/types";
import { suspiciousClass } from "../pure/suspicion";

/** Which heatmap a view shows; null shows the bare slide. */
export interface LayerChoice {
  readonly pipeline: string;
  readonly kind: string;
  readonly className: string;
}

type Layered = Pick<SlideResult, "pipeline" | "classes" | "layers">;

/** The first thing to show of a result: the suspicious class, probability before Grad-CAM. */
export function firstChoice(result: Layered): LayerChoice | null {
  const kind = result.layers.includes("probability") ? "probability" : result.layers[0];
  const className = suspiciousClass(result.classes);
  return kind && className ? { pipeline: result.pipeline, kind, className } : null;
}

/** The wanted choice as far as this result has it. */
export function fitChoice(result: Layered, wanted: LayerChoice | null): LayerChoice | null {
  const first = firstChoice(result);
  if (!first || !wanted) return first;
  return {
    pipeline: result.pipeline,
    kind: result.layers.includes(wanted.kind) ? wanted.kind : first.kind,
    className: result.classes.includes(wanted.className) ? wanted.className : first.className,
  };
}

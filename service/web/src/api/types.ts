/** What the service says (api/v1), as far as the page reads it. */

import type { Grid } from "../pure/heatmap";

export type JobStatus = "QUEUED" | "RUNNING" | "SUCCEEDED" | "FAILED" | "CANCELLED";

export function isFinal(status: JobStatus): boolean {
  return status === "SUCCEEDED" || status === "FAILED" || status === "CANCELLED";
}

export interface ResultSummary {
  readonly job_id: string;
  readonly pipeline: string;
  readonly model: string;
  readonly status: JobStatus;
  readonly progress: number;
  readonly stage: string;
  readonly outcome: "scored" | "no_tissue" | null;
  readonly probabilities: Readonly<Record<string, number>>;
  readonly classes: readonly string[];
  readonly error: string | null;
  readonly finished_at: string | null;
}

export interface Slide {
  readonly id: string;
  readonly name: string;
  readonly sha256: string;
  readonly size_bytes: number;
  readonly vendor: string;
  readonly width: number;
  readonly height: number;
  readonly levels: number;
  readonly mpp: number | null;
  readonly magnification: number | null;
  readonly created_at: string;
  readonly results: readonly ResultSummary[];
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly total: number;
}

export interface Model {
  readonly name: string;
  readonly pipeline: string;
  readonly architecture: string;
  readonly classes: readonly string[];
  readonly mpp: number;
  readonly digest: string;
  readonly created_at: string | null;
}

export interface Job {
  readonly id: string;
  readonly slide_id: string;
  readonly slide_name: string;
  readonly pipeline: string;
  readonly model: string;
  readonly status: JobStatus;
  readonly progress: number;
  readonly stage: string;
  readonly attempt: number;
  readonly created_at: string;
  readonly started_at: string | null;
  readonly finished_at: string | null;
  readonly error_kind: string | null;
  readonly error: string | null;
  readonly cancel_requested: boolean;
}

export interface Hotspot {
  readonly polygon_level0: readonly (readonly [number, number])[];
  readonly centre_level0: { readonly x: number; readonly y: number };
  readonly class_name: string;
  readonly score: number;
  readonly mean_score: number;
  readonly area_um2: number;
}

export interface SlideResult {
  readonly job_id: string;
  readonly slide_id: string;
  readonly slide: string;
  readonly pipeline: string;
  readonly model: string;
  readonly model_digest: string;
  readonly classes: readonly string[];
  readonly probabilities: Readonly<Record<string, number>>;
  readonly outcome: "scored" | "no_tissue";
  readonly grid: Grid | null;
  readonly layers: readonly string[];
  readonly hotspots: readonly Hotspot[];
  readonly damaged: readonly unknown[];
  readonly timings_s: Readonly<Record<string, number>>;
  readonly warnings: readonly string[];
}

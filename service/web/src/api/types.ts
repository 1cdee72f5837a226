/** What the service says (api/v1), as far as the page reads it. */

import type { Grid } from "../pure/heatmap";
import type { Quality } from "../pure/quality";
import type { Review } from "../pure/review";

export type JobStatus = "QUEUED" | "RUNNING" | "SUCCEEDED" | "FAILED" | "CANCELLED";

export function isFinal(status: JobStatus): boolean {
  return status === "SUCCEEDED" || status === "FAILED" || status === "CANCELLED";
}

/** "scored", or why nothing was: "no_tissue", "tissue_unclear", or what a later service says. */
export type Outcome = string;

/** A run that has no result: it waits, runs, failed or was stopped. */
export interface RunBrief {
  readonly job_id: string;
  readonly model: string;
  readonly status: JobStatus;
  readonly progress: number;
  readonly stage: string;
  readonly error_kind: string | null;
  readonly error: string | null;
  readonly finished_at: string | null;
}

/** A pipeline's last success, which stands until there is a newer one; else its newest job. */
export interface ResultSummary {
  readonly job_id: string;
  readonly pipeline: string;
  readonly model: string;
  readonly status: JobStatus;
  readonly progress: number;
  readonly stage: string;
  readonly outcome: Outcome | null;
  readonly probabilities: Readonly<Record<string, number>>;
  readonly classes: readonly string[];
  /** Most severe first. */
  readonly malignant: readonly string[];
  /** Probability that the slide is malignant; null where it is not known. */
  readonly suspicion: number | null;
  readonly hotspot_total: number | null;
  /** Tissue in all hotspots. */
  readonly hotspot_area_um2: number | null;
  /** The highest of any hotspot. */
  readonly hotspot_score: number | null;
  readonly error: string | null;
  readonly finished_at: string | null;
  readonly warnings?: readonly string[];
  /** A run after this result. */
  readonly newer_run: RunBrief | null;
  /** µm per pixel that the slide was taken to have; the slide may have another resolution now. */
  readonly mpp?: number | null;
  readonly other_mpp?: boolean;
}

/** The newest version of a slide's review, as lists show it. */
export interface ReviewBrief {
  readonly slide_id: string;
  readonly version: number;
  readonly status: "draft" | "signed";
  readonly reviewer: string;
  readonly diagnosis: string | null;
  readonly blind: boolean;
  readonly saved_at: string;
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
  /** µm per pixel: what a user gave, else what the file states, if that can be true. */
  readonly mpp: number | null;
  readonly stated_mpp: number | null;
  readonly given_mpp: number | null;
  /** Why what the file states cannot be true; empty where it can. */
  readonly mpp_problem: string;
  readonly magnification: number | null;
  readonly created_at: string;
  readonly results: readonly ResultSummary[];
  readonly quality: Quality | null;
  readonly review: ReviewBrief | null;
  /** Why it was last refused, unless something was done about it since. */
  readonly refusal?: string | null;
}

export interface Me {
  readonly name: string;
  readonly role: string;
  /** What says who they are; "nothing" where the service asks for no keys. */
  readonly known_by: "key" | "token" | "nothing";
  readonly blind_first_read: boolean;
}

export interface Batch {
  readonly id: string;
  readonly name: string;
  readonly created_at: string;
  readonly total: number;
  /** Items by the status of their job; ARRIVING: being looked at, before there is a job. */
  readonly counts: Readonly<Partial<Record<JobStatus | "REFUSED" | "ARRIVING", number>>>;
  readonly progress: number;
  readonly finished: boolean;
}

export interface BatchItem {
  readonly slide_id: string;
  readonly pipeline: string;
  readonly job: Job | null;
  readonly error: string | null;
}

/** What the bits of `tissue.png` mean. */
export interface TissueInfo {
  readonly layers: readonly {
    readonly name: string;
    readonly bit: number;
    readonly share: number;
  }[];
  readonly reasons: readonly string[];
  readonly digest: string;
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
  readonly malignant: readonly string[];
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

/** Level-0 pixels. */
export type Ring = readonly (readonly [number, number])[];

export interface Hotspot {
  readonly polygon_level0: Ring;
  readonly holes_level0: readonly Ring[];
  readonly centre_level0: { readonly x: number; readonly y: number };
  readonly class_name: string;
  readonly score: number;
  readonly mean_score: number;
  readonly area_um2: number;
}

/** A hotspot in a report, and what was said of it. */
export interface ReportSpot
  extends Pick<Hotspot, "polygon_level0" | "class_name" | "score" | "area_um2"> {
  readonly number: number;
  readonly decision: string | null;
  readonly comment: string;
  readonly seen: boolean;
}

/** One pipeline's answer in a report. */
export interface ReportRun {
  readonly pipeline: string;
  readonly model: string;
  readonly model_digest: string;
  readonly job_id: string;
  readonly finished_at: string | null;
  /** Why nothing was scored; empty where something was. */
  readonly outcome_text: string;
  readonly probabilities: Readonly<Record<string, number>>;
  readonly resolution: string;
  readonly warnings: readonly string[];
  readonly map: { readonly kind: string; readonly class_name: string } | null;
  readonly spots: readonly ReportSpot[];
  readonly spots_note: string;
  /** Decisions belong to it, but it is not the run that counts. */
  readonly earlier: boolean;
}

/** What a report says: the same for screen, print and PDF. */
export interface Report {
  readonly resolution: string;
  readonly review: Review;
  readonly runs: readonly ReportRun[];
  readonly newer_runs: readonly {
    readonly pipeline: string;
    readonly model: string;
    readonly finished_at: string | null;
  }[];
}

export interface SlideResult {
  readonly details?: { readonly slide_mpp?: readonly [number, number] };
  readonly job_id: string;
  readonly slide_id: string;
  readonly slide: string;
  readonly pipeline: string;
  readonly model: string;
  readonly model_digest: string;
  readonly classes: readonly string[];
  readonly probabilities: Readonly<Record<string, number>>;
  readonly outcome: Outcome;
  readonly grid: Grid | null;
  readonly layers: readonly string[];
  readonly hotspots: readonly Hotspot[];
  /** How many there are, of which the first are listed; null in old results. */
  readonly hotspot_total: number | null;
  /** Score from which a place belongs to a hotspot; null in old results. */
  readonly hotspot_threshold: number | null;
  /** Most severe first. */
  readonly malignant: readonly string[];
  readonly suspicion: number | null;
  readonly damaged: readonly unknown[];
  readonly timings_s: Readonly<Record<string, number>>;
  readonly warnings: readonly string[];
}

import type { Grid } from "../pure/heatmap";
import type { components } from "./schema";

/**
 * What the service says (api/v1), by the names that the page uses. The shapes are generated from
 * the service's OpenAPI document (`npm run api`).
 */

/** An answer names every field, also those that may be left out of a request. */
type Complete<T> = T extends object ? { readonly [Key in keyof T]-?: Complete<T[Key]> } : T;

type Schemas = components["schemas"];
export type Answer<Name extends keyof Schemas> = Complete<Schemas[Name]>;

export type JobStatus = Schemas["JobStatus"];

export function isFinal(status: JobStatus): boolean {
  return status === "SUCCEEDED" || status === "FAILED" || status === "CANCELLED";
}

export type Slide = Answer<"SlideOut">;
/** A pipeline's last success, which stands until there is a newer one; else its newest job. */
export type ResultSummary = Answer<"ResultBrief">;
/** A run that has no result: it waits, runs, failed or was stopped. */
export type RunBrief = Answer<"RunBrief">;
export type Quality = Answer<"QualityOut">;
export type Model = Answer<"ModelOut">;
export type Job = Answer<"JobOut">;
export type Batch = Answer<"BatchOut">;
export type BatchItem = Answer<"ItemOut">;
export type Me = Answer<"Me">;
/** What the bits of `tissue.png` mean. */
export type TissueInfo = Answer<"TissueOut">;

/** The newest version of a slide's review, as lists show it. */
export type ReviewBrief = Answer<"ReviewBrief">;
export type Review = Answer<"ReviewOut">;
export type HotspotDecision = Answer<"HotspotDecision">;
export type Decision = NonNullable<HotspotDecision["decision"]>;
/** A result that a signature stands on. */
export type SignedRun = Answer<"SignedRun">;

/** What a report says: the same for screen, print and PDF. */
export type Report = Answer<"ReportOut">;
export type ReportRun = Answer<"RunOut">;
export type ReportSpot = Answer<"SpotOut">;

export interface Page<T> {
  readonly items: readonly T[];
  readonly total: number;
}

/** Level-0 pixels. */
export type Ring = readonly (readonly [number, number])[];

// A result is stored as its pipeline wrote it; the OpenAPI document does not describe it.

export interface Hotspot {
  readonly polygon_level0: Ring;
  readonly holes_level0: readonly Ring[];
  readonly centre_level0: { readonly x: number; readonly y: number };
  readonly class_name: string;
  readonly score: number;
  readonly mean_score: number;
  readonly area_um2: number;
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
  /** "scored", or why nothing was: "no_tissue", "tissue_unclear", or what a later service says. */
  readonly outcome: string;
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

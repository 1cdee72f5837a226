/** Annotations as the service speaks them. Coordinates are level-0 pixels. */

export type Position = readonly [number, number];
export type Positions = readonly Position[];

/** GeoJSON. A line is a measurement. */
export type Geometry =
  | { readonly type: "Point"; readonly coordinates: Position }
  | { readonly type: "MultiPoint" | "LineString"; readonly coordinates: Positions }
  | { readonly type: "MultiLineString" | "Polygon"; readonly coordinates: readonly Positions[] }
  | { readonly type: "MultiPolygon"; readonly coordinates: readonly (readonly Positions[])[] };

/** What a reader draws and writes. */
export interface Content {
  readonly geometry: Geometry;
  readonly class_name: string;
  readonly comment: string;
}

export interface Annotation extends Content {
  readonly id: string;
  readonly version: number;
  readonly author: string;
  readonly changed_by: string;
  readonly created_at: string;
  readonly changed_at: string;
  readonly deleted: boolean;
  /** Why it was changed after sign-off. */
  readonly reason: string;
}

export interface AnnotationList {
  readonly items: readonly Annotation[];
  /** Number of the newest change: ask for what comes after it. */
  readonly change: number;
  /** The slide is signed off: a change needs a reason. */
  readonly signed: boolean;
}

export interface ImportOutcome {
  readonly added: number;
  readonly already_there: number;
  /** Objects that were not taken, such as detections; the warnings say which. */
  readonly ignored: number;
  readonly warnings: readonly string[];
}

/** An annotation as the page shows it: what is saved, and what is not yet. */
export interface Mark extends Content {
  readonly id: string;
  readonly author: string;
  readonly created_at: string;
  /** Drawn by this reader. */
  readonly mine: boolean;
  /** Not sent yet. */
  readonly unsent: boolean;
}

export const UNCLASSIFIED = "unclassified";

export const contentOf = ({ geometry, class_name, comment }: Content): Content => ({
  geometry,
  class_name,
  comment,
});

/** The service keeps coordinates as they are sent, so plain comparison of their text will do. */
export const sameField = (a: unknown, b: unknown): boolean =>
  JSON.stringify(a) === JSON.stringify(b);

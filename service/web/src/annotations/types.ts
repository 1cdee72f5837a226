import type { Answer } from "../api/types";

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

export type Annotation = Content & Omit<Answer<"AnnotationOut">, keyof Content>;

export type AnnotationList = Omit<Answer<"AnnotationList">, "items"> & {
  readonly items: readonly Annotation[];
};

export type ImportOutcome = Answer<"ImportOut">;

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

/** How suspicious a slide is, as the service says it, and what follows for orders and maps. */

export interface Suspected {
  readonly suspicion: number | null;
  readonly hotspot_area_um2: number | null;
  readonly hotspot_score: number | null;
  /** Made at another resolution than the slide has now. */
  readonly other_mpp?: boolean;
}

const ofThisSlide = (results: readonly Suspected[]): readonly Suspected[] =>
  results.filter((result) => !result.other_mpp);

/** The highest suspicion that any pipeline has, or null where it is not known. */
export function slideSuspicion(results: readonly Suspected[]): number | null {
  const known = ofThisSlide(results)
    .map(({ suspicion }) => suspicion)
    .filter((value) => value !== null);
  return known.length ? Math.max(...known) : null;
}

/**
 * What slides are sorted by: suspicion as it is shown, then the tissue in the hotspots, then their
 * highest score. The service sorts alike (`sort=suspicion`). Null where the suspicion is unknown.
 */
export function suspicionRank(results: readonly Suspected[]): readonly number[] | null {
  const known = ofThisSlide(results).filter((result) => result.suspicion !== null);
  const highest = slideSuspicion(known);
  if (highest === null) return null;
  const most = (value: (result: Suspected) => number | null) =>
    Math.max(...known.map((result) => value(result) ?? 0));
  return [
    highest > 0.999 ? 1000 : Math.floor(highest * 1000 + 0.5),
    most((result) => result.hotspot_area_um2),
    most((result) => result.hotspot_score),
    highest,
  ];
}

/** Below, at or above zero as `a` comes before, with or after `b`. */
export function compareRanks(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, index) => value !== b[index]);
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}

/** The map that adds up the malignant classes, where a model has several. */
export const ALL_MALIGNANT = "all-malignant";

interface Classed {
  readonly classes: readonly string[];
  readonly malignant: readonly string[];
}

/** The maps of a layer: one a class, and of probabilities the malignant ones together. */
export function mapNames({ classes, malignant }: Classed, kind: string): readonly string[] {
  const addsUp = /(^|-)probability$/.test(kind);
  const together = addsUp && malignant.length > 1 && !classes.includes(ALL_MALIGNANT);
  return together ? [...classes, ALL_MALIGNANT] : classes;
}

/** The map to look at first: all that is malignant, else the last class. */
export function firstMap(result: Classed, kind: string): string | null {
  const names = mapNames(result, kind);
  if (names.length > result.classes.length) return ALL_MALIGNANT;
  return result.malignant[0] ?? names.at(-1) ?? null;
}

export function mapTitle(name: string): string {
  return name === ALL_MALIGNANT ? "all malignant" : name;
}

/** How suspicious a slide is: what the worklist is sorted by. */

const CANCER = /cancer|tumou?r|malign|carcinom/i;
const NOT_CANCER = /^(no[nt]?|normal|benign)[\s_-]|negative/i;

/** The class whose probability is the suspicion: one named cancer or tumour, else the last. */
export function suspiciousClass(classes: readonly string[]): string | null {
  const named = classes.find((name) => CANCER.test(name) && !NOT_CANCER.test(name));
  return named ?? classes.at(-1) ?? null;
}

export interface Scored {
  readonly classes: readonly string[];
  readonly probabilities: Readonly<Record<string, number>>;
}

/** In [0, 1], or null where there is no result. */
export function suspicion(result: Scored): number | null {
  const name = suspiciousClass(result.classes);
  return name === null ? null : (result.probabilities[name] ?? null);
}

/** The highest suspicion that any pipeline has. */
export function slideSuspicion(results: readonly Scored[]): number | null {
  const known = results.map(suspicion).filter((value) => value !== null);
  return known.length ? Math.max(...known) : null;
}

/** What a resolution that a reader enters would mean. */

/** What is known of a slide's resolution; µm per pixel. */
export interface Known {
  readonly mpp: number | null;
  readonly stated_mpp: number | null;
  readonly given_mpp: number | null;
  readonly mpp_problem: string;
}

const USUAL = [0.1, 5] as const;
/** Beyond these the service takes a resolution only where the reader insists. */
const PLAUSIBLE = [0.05, 40] as const;
const SAME = 0.01;

const short = (mpp: number): string => `${Number(mpp.toPrecision(4))} µm/px`;

const differ = (one: number, other: number): boolean =>
  Math.max(one, other) / Math.min(one, other) - 1 > SAME;

/** What the file says of it. */
export function statedText(slide: Known): string {
  if (slide.stated_mpp === null) return "This slide has no resolution (µm/px) in its metadata.";
  if (slide.mpp_problem !== "") {
    return `The file states ${short(slide.stated_mpp)}, which is implausible: ${slide.mpp_problem}.`;
  }
  return `The file states ${short(slide.stated_mpp)}.`;
}

/** What the reader must confirm before the service takes the value; null: nothing. */
export function toConfirm(slide: Known, mpp: number): string | null {
  const trusted = slide.mpp_problem === "" ? slide.stated_mpp : null;
  if (trusted !== null && differ(trusted, mpp)) return "The file is wrong, use this";
  const odd = mpp < PLAUSIBLE[0] || mpp > PLAUSIBLE[1];
  // A file that states the same, or nothing, is not wrong; a slip of the keyboard may be.
  return odd && trusted === null ? "This unusual value is right" : null;
}

/** Sentences about a value that is about to be saved; `results`: how many there are. */
export function warnings(slide: Known, mpp: number, results: number): string[] {
  const notes: string[] = [];
  if (mpp < USUAL[0] || mpp > USUAL[1]) {
    notes.push(`${short(mpp)} is unusual: scanners give ${USUAL[0]} to ${USUAL[1]} µm/px.`);
  }
  if (slide.mpp !== null && differ(slide.mpp, mpp)) {
    const factor = mpp / slide.mpp;
    notes.push(
      `Lengths become ${times(factor)} and areas ${times(factor * factor)} what they are now.`,
    );
    if (results > 0) {
      const what = results === 1 ? "1 result was" : `${results} results were`;
      notes.push(
        `${what} made at ${short(slide.mpp)} and will be marked as outdated: run them again.`,
      );
    }
  }
  return notes;
}

/** What is to be said of a result that was made at another resolution than the slide has now. */
export function otherResolution(
  made: readonly [number, number] | null,
  mpp: number | null,
): string | null {
  if (made === null) return null;
  const then = Math.sqrt(made[0] * made[1]);
  if (mpp !== null && !differ(then, mpp)) return null;
  const now = mpp === null ? "unknown" : short(mpp);
  return `Made at ${short(then)}; the slide’s resolution is now ${now}. Run it again.`;
}

const times = (factor: number): string => `${Number(factor.toPrecision(3))} times`;

/** How many times the pixels of the file are enlarged at a power; null where it is not. */
export function digitalZoom(power: number, base: number): number | null {
  const factor = power / base;
  return factor > 1.05 ? factor : null;
}

export const digitalText = (factor: number): string =>
  `(${Number(factor.toPrecision(2))}× digital)`;

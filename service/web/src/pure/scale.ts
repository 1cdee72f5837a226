/** Lengths and magnifications on screen. */

export interface ScaleBar {
  readonly widthPx: number;
  readonly label: string;
}

/**
 * The longest bar of 1, 2 or 5 times a power of ten that fits into `maxPx`.
 *
 * @param umPerPx micrometres per screen pixel.
 */
export function scaleBar(umPerPx: number, maxPx = 140): ScaleBar | null {
  if (!(umPerPx > 0) || !Number.isFinite(umPerPx)) return null;
  const longest = umPerPx * maxPx;
  const power = 10 ** Math.floor(Math.log10(longest) + 1e-9);
  const factor = [5, 2, 1].find((f) => f * power <= longest * (1 + 1e-9)) ?? 1;
  const um = factor * power;
  return { widthPx: um / umPerPx, label: lengthText(um) };
}

/** A length for people: nm, µm, mm. */
export function lengthText(um: number): string {
  if (um >= 1000) return `${trim(um / 1000)} mm`;
  if (um >= 1) return `${trim(um)} µm`;
  return `${trim(um * 1000)} nm`;
}

function trim(value: number): string {
  return String(Number(value.toPrecision(3)));
}

export function areaText(um2: number): string {
  return um2 >= 1e4 ? `${trim(um2 / 1e6)} mm²` : `${trim(um2)} µm²`;
}

/**
 * The objective power that a slide's level 0 stands for: what the slide says, else 10 / mpp by the
 * usual convention (0.25 µm per pixel is 40x). Null where nothing is known.
 */
export function baseMagnification(mpp: number | null, stated: number | null): number | null {
  if (stated !== null && stated > 0) return stated;
  return mpp !== null && mpp > 0 ? 10 / mpp : null;
}

/** The same of a slide; a resolution that a user gave tells more than the power of its file. */
export function basePower(slide: {
  readonly mpp: number | null;
  readonly given_mpp: number | null;
  readonly magnification: number | null;
}): number | null {
  return baseMagnification(slide.mpp, slide.given_mpp === null ? slide.magnification : null);
}

/** Magnification on screen from screen pixels per level-0 pixel. */
export function magnification(imageZoom: number, base: number): number {
  return imageZoom * base;
}

export function magnificationText(value: number): string {
  const digits = value >= 10 ? 0 : value >= 1 ? 1 : 2;
  return `${Number(value.toFixed(digits))}×`;
}

/** Screen pixels per level-0 pixel that show this magnification. */
export function imageZoomFor(wanted: number, base: number): number {
  return wanted / base;
}

/** Room around a hotspot, in shares of its own size. */
const AROUND = 1.6;
/** Enlarging a pixel of the file further shows nothing more. */
const LARGEST_PIXEL = 1.5;
const STEPS = [20, 10, 5, 2.5] as const;

export interface Extent {
  readonly width: number;
  readonly height: number;
}

/**
 * Screen pixels per level-0 pixel that show a whole area with room around it: 20, 10, 5 or 2.5
 * times, or less where it is too large for those, and never beyond 1.5 screen pixels a file pixel.
 *
 * @param area level-0 pixels, as the view is turned.
 * @param view screen pixels.
 * @param base magnification of level 0; where it is unknown, 40.
 */
export function zoomAround(area: Extent, view: Extent, base: number | null): number {
  const fitting = Math.min(
    view.width / (Math.max(1, area.width) * AROUND),
    view.height / (Math.max(1, area.height) * AROUND),
  );
  const most = Math.min(fitting, LARGEST_PIXEL);
  const step = STEPS.map((power) => imageZoomFor(power, base ?? 40)).find((zoom) => zoom <= most);
  return step ?? most;
}

/** What keys 1 to 5 show. */
export const MAGNIFICATION_KEYS: Readonly<Record<string, number>> = {
  "1": 2.5,
  "2": 5,
  "3": 10,
  "4": 20,
  "5": 40,
};

import { areaText, lengthText } from "../pure/scale";
import { areaOf, isArea, isLine, lengthOf } from "./geometry";
import type { Geometry, Mark } from "./types";

/** Length for people; pixels where the slide's resolution is not known. */
export function measureText(geometry: Geometry, mpp: number | null): string {
  const px = lengthOf(geometry);
  return mpp === null ? `${Math.round(px)} px` : lengthText(px * mpp);
}

/** Area for people; pixels where the slide's resolution is not known. */
export const sizeText = (areaPx: number, mpp: number | null): string =>
  mpp === null ? `${Math.round(areaPx)} px²` : areaText(areaPx * mpp * mpp);

/** How large it is: an area, a length, or a point. */
export function sizeOf(geometry: Geometry, mpp: number | null): string {
  if (isArea(geometry)) return sizeText(areaOf(geometry), mpp);
  return isLine(geometry) ? measureText(geometry, mpp) : "point";
}

/** What it is, how large, and whose. */
export function factsOf(mark: Mark, mpp: number | null): string {
  const who = mark.mine ? "you" : mark.author || "someone";
  return `${sizeOf(mark.geometry, mpp)} · ${who}${mark.unsent ? " · not sent" : ""}`;
}

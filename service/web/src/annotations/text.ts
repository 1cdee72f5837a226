import { areaText, lengthText } from "../pure/scale";
import { areaOf, isArea, isLine, lengthOf } from "./geometry";
import type { Geometry, Mark } from "./types";

/** Length for people; pixels where the slide's resolution is not known. */
export function measureText(geometry: Geometry, mpp: number | null): string {
  const px = lengthOf(geometry);
  return mpp === null ? `${Math.round(px)} px` : lengthText(px * mpp);
}

/** What it is, how large, and whose. */
export function factsOf(mark: Mark, mpp: number | null): string {
  const { geometry } = mark;
  const size = isArea(geometry)
    ? mpp === null
      ? `${Math.round(areaOf(geometry))} px²`
      : areaText(areaOf(geometry) * mpp * mpp)
    : isLine(geometry)
      ? measureText(geometry, mpp)
      : "point";
  const who = mark.mine ? "you" : mark.author || "somebody";
  return `${size} · ${who}${mark.unsent ? " · not sent" : ""}`;
}

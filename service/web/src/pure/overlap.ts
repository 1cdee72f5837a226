import type { Hotspot } from "../api/types";

/** Which hotspot of another run is the same place: decisions move along. */

type Ring = Hotspot["polygon_level0"];

/** Samples along the longer side of what two outlines cover together. */
const SAMPLES = 48;
/** Two outlines that share half of what they cover are one place. */
const SAME = 0.5;

/** Intersection over union of two outlines, by samples: as exact as the decision needs. */
export function overlap(a: Ring, b: Ring): number {
  const [left, top, right, bottom] = bounds([...a, ...b]);
  const step = Math.max(right - left, bottom - top) / SAMPLES;
  if (!(step > 0)) return 0;
  let both = 0;
  let either = 0;
  for (let y = top + step / 2; y < bottom; y += step) {
    for (let x = left + step / 2; x < right; x += step) {
      const inA = isInside(a, x, y);
      const inB = isInside(b, x, y);
      if (inA && inB) both++;
      if (inA || inB) either++;
    }
  }
  return either === 0 ? 0 : both / either;
}

/** Of each hotspot of a run its counterpart in another, by index; no two have the same one. */
export function counterparts(
  from: readonly Hotspot[],
  to: readonly Hotspot[],
): Map<number, number> {
  const pairs = from.flatMap((spot, at) =>
    to.flatMap((other, index) => {
      if (spot.class_name !== other.class_name) return [];
      if (!meet(spot.polygon_level0, other.polygon_level0)) return [];
      const share = overlap(spot.polygon_level0, other.polygon_level0);
      return share >= SAME ? [{ at, index, share }] : [];
    }),
  );
  const found = new Map<number, number>();
  const taken = new Set<number>();
  for (const { at, index } of pairs.sort((a, b) => b.share - a.share)) {
    if (found.has(at) || taken.has(index)) continue;
    found.set(at, index);
    taken.add(index);
  }
  return found;
}

function bounds(points: Ring): [number, number, number, number] {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    left = Math.min(left, x);
    top = Math.min(top, y);
    right = Math.max(right, x);
    bottom = Math.max(bottom, y);
  }
  return [left, top, right, bottom];
}

function meet(a: Ring, b: Ring): boolean {
  const [left, top, right, bottom] = bounds(a);
  const [left2, top2, right2, bottom2] = bounds(b);
  return left < right2 && left2 < right && top < bottom2 && top2 < bottom;
}

/** By the even-odd rule. */
function isInside(ring: Ring, x: number, y: number): boolean {
  let inside = false;
  ring.forEach(([x1, y1], at) => {
    const [x2, y2] = ring[(at + 1) % ring.length] ?? [x1, y1];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) inside = !inside;
  });
  return inside;
}

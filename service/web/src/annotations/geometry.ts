import type { Geometry, Position, Positions } from "./types";

/** Measuring and changing outlines. Everything in level-0 pixels; nothing here needs a browser. */

export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** A ring without its closing point, a line, or points. */
export interface Part {
  readonly points: Positions;
  readonly closed: boolean;
}

/** A corner of an outline: which part, and which point of it. */
export interface Corner {
  readonly part: number;
  readonly index: number;
}

const open = (ring: Positions): Positions => ring.slice(0, -1);
const close = (points: Positions): Positions => (points[0] ? [...points, points[0]] : []);

/** The same geometry with each part changed; rings are given and taken without closing point. */
export function mapParts(
  geometry: Geometry,
  change: (points: Positions, part: number) => Positions,
): Geometry {
  let part = 0;
  const line = (points: Positions) => change(points, part++);
  const ring = (points: Positions) => close(change(open(points), part++));
  switch (geometry.type) {
    case "Point": {
      const moved = line([geometry.coordinates])[0];
      return { type: "Point", coordinates: moved ?? geometry.coordinates };
    }
    case "MultiPoint":
    case "LineString":
      return { type: geometry.type, coordinates: line(geometry.coordinates) };
    case "MultiLineString":
      return { type: geometry.type, coordinates: geometry.coordinates.map(line) };
    case "Polygon":
      return { type: geometry.type, coordinates: geometry.coordinates.map(ring) };
    case "MultiPolygon":
      return {
        type: geometry.type,
        coordinates: geometry.coordinates.map((rings) => rings.map(ring)),
      };
  }
}

export const isArea = (geometry: Geometry): boolean =>
  geometry.type === "Polygon" || geometry.type === "MultiPolygon";

export const isLine = (geometry: Geometry): boolean =>
  geometry.type === "LineString" || geometry.type === "MultiLineString";

export function partsOf(geometry: Geometry): Part[] {
  const parts: Part[] = [];
  mapParts(geometry, (points) => {
    parts.push({ points, closed: isArea(geometry) });
    return points;
  });
  return parts;
}

export function boundsOf(geometry: Geometry): Box {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { points } of partsOf(geometry)) {
    for (const [x, y] of points) {
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  return { left, top, right, bottom };
}

/** The corner that lies highest. */
export function highest(geometry: Geometry): Position {
  const all = cornersOf(geometry).map(({ at }) => at);
  return all.reduce((best, at) => (at[1] < best[1] ? at : best));
}

/** Pixels of area; holes are taken off. */
export function areaOf(geometry: Geometry): number {
  if (geometry.type === "Polygon") return polygonArea(geometry.coordinates);
  if (geometry.type !== "MultiPolygon") return 0;
  return geometry.coordinates.reduce((sum, rings) => sum + polygonArea(rings), 0);
}

function polygonArea([outer, ...holes]: readonly Positions[]): number {
  return holes.reduce((rest, hole) => rest - ringArea(hole), outer ? ringArea(outer) : 0);
}

function ringArea(ring: Positions): number {
  let twice = 0;
  for (const [a, b] of edges(ring, false)) twice += a[0] * b[1] - b[0] * a[1];
  return Math.abs(twice) / 2;
}

/** Pixels of length of a line; of the outline of an area. */
export function lengthOf(geometry: Geometry): number {
  let sum = 0;
  for (const { points, closed } of partsOf(geometry)) {
    if (geometry.type === "MultiPoint") continue;
    for (const [a, b] of edges(points, closed)) sum += Math.hypot(b[0] - a[0], b[1] - a[1]);
  }
  return sum;
}

function edges(points: Positions, closed: boolean): [Position, Position][] {
  const found: [Position, Position][] = [];
  points.forEach((a, index) => {
    const b = points[index + 1] ?? (closed ? points[0] : undefined);
    if (b) found.push([a, b]);
  });
  return found;
}

/** Whether a place lies inside; by the even-odd rule, so holes are outside. */
export function contains(geometry: Geometry, [x, y]: Position): boolean {
  if (!isArea(geometry)) return false;
  let inside = false;
  for (const { points } of partsOf(geometry)) {
    for (const [a, b] of edges(points, true)) {
      const crosses = a[1] > y !== b[1] > y;
      if (crosses && x < ((b[0] - a[0]) * (y - a[1])) / (b[1] - a[1]) + a[0]) inside = !inside;
    }
  }
  return inside;
}

/** Pixels from a place to the outline, line or point. */
export function distanceTo(geometry: Geometry, at: Position): number {
  let least = Infinity;
  for (const { points, closed } of partsOf(geometry)) {
    if (geometry.type !== "MultiPoint") {
      for (const [a, b] of edges(points, closed)) least = Math.min(least, toSegment(at, a, b));
    }
    for (const [x, y] of points) least = Math.min(least, Math.hypot(x - at[0], y - at[1]));
  }
  return least;
}

function toSegment(at: Position, a: Position, b: Position): number {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const square = dx * dx + dy * dy;
  const along = square === 0 ? 0 : ((at[0] - a[0]) * dx + (at[1] - a[1]) * dy) / square;
  const share = Math.min(1, Math.max(0, along));
  return Math.hypot(a[0] + share * dx - at[0], a[1] + share * dy - at[1]);
}

/** All corners, in order. */
export function cornersOf(geometry: Geometry): (Corner & { readonly at: Position })[] {
  return partsOf(geometry).flatMap(({ points }, part) =>
    points.map((at, index) => ({ part, index, at })),
  );
}

/** The middles of all edges: where a corner can be put in, `index` being its place. */
export function middlesOf(geometry: Geometry): (Corner & { readonly at: Position })[] {
  if (geometry.type === "Point" || geometry.type === "MultiPoint") return [];
  return partsOf(geometry).flatMap(({ points, closed }, part) =>
    edges(points, closed).map(([a, b], index) => ({
      part,
      index: index + 1,
      at: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2] as const,
    })),
  );
}

export const moveCorner = (geometry: Geometry, corner: Corner, to: Position): Geometry =>
  mapParts(geometry, (points, part) =>
    part === corner.part ? points.with(corner.index, to) : points,
  );

export const insertCorner = (geometry: Geometry, corner: Corner, at: Position): Geometry =>
  mapParts(geometry, (points, part) =>
    part === corner.part ? points.toSpliced(corner.index, 0, at) : points,
  );

/** Null where too few corners would be left. */
export function removeCorner(geometry: Geometry, corner: Corner): Geometry | null {
  const part = partsOf(geometry)[corner.part];
  const least = isArea(geometry) ? 3 : isLine(geometry) ? 2 : 1;
  if (!part || part.points.length <= least) return null;
  return mapParts(geometry, (points, index) =>
    index === corner.part ? points.toSpliced(corner.index, 1) : points,
  );
}

/** Moved as a whole, as far as the slide reaches. */
export function moveBy(
  geometry: Geometry,
  by: Position,
  slide: { readonly width: number; readonly height: number },
): Geometry {
  const { left, top, right, bottom } = boundsOf(geometry);
  const dx = Math.min(Math.max(by[0], -left), slide.width - right);
  const dy = Math.min(Math.max(by[1], -top), slide.height - bottom);
  return mapParts(geometry, (points) => points.map(([x, y]) => [round(x + dx), round(y + dy)]));
}

/** Tenths of a pixel are finer than any hand. */
export const round = (value: number): number => Math.round(value * 10) / 10;

/** Leaves out points that lie within `tolerance` of the line without them (Douglas-Peucker). */
export function simplify(points: Positions, tolerance: number): Positions {
  const keep = new Set([0, points.length - 1]);
  const ranges: [number, number][] = [[0, points.length - 1]];
  for (let range = ranges.pop(); range; range = ranges.pop()) {
    const [from, to] = range;
    const [a, b] = [points[from], points[to]];
    if (!a || !b) continue;
    let [far, farthest] = [-1, tolerance];
    for (let at = from + 1; at < to; at++) {
      const distance = toSegment(points[at] ?? a, a, b);
      if (distance > farthest) [far, farthest] = [at, distance];
    }
    if (far < 0) continue;
    keep.add(far);
    ranges.push([from, far], [far, to]);
  }
  return points.filter((_, index) => keep.has(index));
}

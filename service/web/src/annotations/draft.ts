import { round, simplify } from "./geometry";
import type { Geometry, Position, Positions } from "./types";

/** An annotation while it is being drawn, by mouse or by keyboard. Needs no browser. */

export type Tool = "polygon" | "freehand" | "rectangle" | "point" | "measure";

/** Dragged from press to release; the others are clicked. */
export const isDragged = (tool: Tool): boolean =>
  tool === "freehand" || tool === "rectangle" || tool === "measure";

export class Draft {
  readonly tool: Tool;
  readonly #slide: { readonly width: number; readonly height: number };
  #points: Position[] = [];
  /** Where the pointer is: the end of the line that follows it. */
  #at: Position | null = null;

  constructor(tool: Tool, slide: { readonly width: number; readonly height: number }) {
    this.tool = tool;
    this.#slide = slide;
  }

  get points(): Positions {
    return this.#points;
  }

  get isEmpty(): boolean {
    return this.#points.length === 0;
  }

  /**
   * Put a point where the reader pressed.
   *
   * @returns whether this point completes it: two corners of a rectangle, two ends of a length.
   */
  put(at: Position): boolean {
    const point = this.#inside(at);
    const last = this.#points.at(-1);
    // A double click puts the same point twice.
    if (!last || last[0] !== point[0] || last[1] !== point[1]) this.#points.push(point);
    this.#at = point;
    if (this.tool === "point") return true;
    return (this.tool === "rectangle" || this.tool === "measure") && this.#points.length > 1;
  }

  /** The pointer moved; a freehand line that was begun follows it. */
  follow(at: Position): void {
    this.#at = this.#inside(at);
    if (this.tool === "freehand" && !this.isEmpty) this.#points.push(this.#at);
  }

  /** Take the last point back. */
  back(): void {
    this.#points.pop();
  }

  /** What can be seen of it. */
  preview(): Geometry | null {
    const [first] = this.#points;
    if (!first) return null;
    const ends = this.#at && this.tool !== "freehand" ? [...this.#points, this.#at] : this.#points;
    const last = ends.at(-1) ?? first;
    if (this.tool === "rectangle") return { type: "Polygon", coordinates: [box(first, last)] };
    return { type: "LineString", coordinates: ends };
  }

  /** The finished shape; null where it is too little to be one. `tolerance` is a pixel on screen. */
  finish(tolerance: number): Geometry | null {
    const [first] = this.#points;
    const last = this.#points.at(-1);
    if (!first || !last) return null;
    switch (this.tool) {
      case "point":
        return { type: "Point", coordinates: first };
      case "measure":
        return Math.hypot(last[0] - first[0], last[1] - first[1]) > 2 * tolerance
          ? { type: "LineString", coordinates: [first, last] }
          : null;
      case "rectangle":
        return polygon(box(first, last), tolerance);
      default: {
        const points = this.tool === "freehand" ? simplify(this.#points, tolerance) : this.#points;
        return points.length < 3 ? null : polygon([...points, first], tolerance);
      }
    }
  }

  #inside([x, y]: Position): Position {
    const { width, height } = this.#slide;
    return [round(Math.min(Math.max(x, 0), width)), round(Math.min(Math.max(y, 0), height))];
  }
}

function box([x0, y0]: Position, [x1, y1]: Position): Positions {
  return [
    [x0, y0],
    [x1, y0],
    [x1, y1],
    [x0, y1],
    [x0, y0],
  ];
}

/**
 * Null for a press without a drag, or a line there and back. Not by area: where an outline crosses
 * itself, what is on one side is taken from what is on the other.
 */
function polygon(ring: Positions, tolerance: number): Geometry | null {
  if (simplify(ring, 2 * tolerance).length < 4) return null;
  return { type: "Polygon", coordinates: [ring] };
}

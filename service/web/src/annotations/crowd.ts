import { cssColour } from "./classes";
import { boundsOf, partsOf, simplify } from "./geometry";
import type { Mark } from "./types";

/** Smaller than this on screen, an outline is a box. */
const TINY_PX = 10;

interface Shapes {
  readonly boxes: (readonly [number, number, number, number])[];
  readonly outlines: Path2D[];
}

/**
 * Thousands of annotations at once, without casing, dashes and names, which would be a smear.
 * Prepared again only when they change or the view is twice as near. Drawn one by one: a single
 * path of them all takes a canvas four times as long.
 */
export class Crowd {
  readonly #marks: readonly Mark[];
  readonly #but: string | null;
  readonly #coarseness: number;
  readonly #classes = new Map<string, Shapes>();

  /** `coarseness`: level-0 pixels that may be passed over; `but`: the one that is drawn apart. */
  constructor(marks: readonly Mark[], but: string | null, coarseness: number) {
    this.#marks = marks;
    this.#but = but;
    this.#coarseness = coarseness;
    for (const mark of marks) if (mark.id !== but) this.#add(mark);
  }

  fits(marks: readonly Mark[], but: string | null, coarseness: number): boolean {
    return this.#marks === marks && this.#but === but && this.#coarseness === coarseness;
  }

  /** One unit of the context is a level-0 pixel, `px` of them a pixel of the view. */
  draw(context: CanvasRenderingContext2D, px: number): void {
    context.lineWidth = 1.6 * px;
    for (const [className, { boxes, outlines }] of this.#classes) {
      context.fillStyle = cssColour(className, 0.6);
      for (const box of boxes) context.fillRect(...box);
      context.strokeStyle = cssColour(className);
      for (const path of outlines) context.stroke(path);
    }
  }

  #add({ geometry, class_name }: Mark): void {
    let shapes = this.#classes.get(class_name);
    if (!shapes) {
      shapes = { boxes: [], outlines: [] };
      this.#classes.set(class_name, shapes);
    }
    const { left, top, right, bottom } = boundsOf(geometry);
    const least = 2 * this.#coarseness;
    if (Math.max(right - left, bottom - top) < TINY_PX * this.#coarseness) {
      shapes.boxes.push([left, top, Math.max(right - left, least), Math.max(bottom - top, least)]);
      return;
    }
    const path = new Path2D();
    for (const { points, closed } of partsOf(geometry)) {
      simplify(points, this.#coarseness).forEach(([x, y], index) => {
        if (index === 0) path.moveTo(x, y);
        else path.lineTo(x, y);
      });
      if (closed) path.closePath();
    }
    shapes.outlines.push(path);
  }
}

import OpenSeadragon from "openseadragon";
import { cssColour } from "./classes";
import { Crowd } from "./crowd";
import { type Box, boundsOf, cornersOf, highest, isLine, middlesOf, partsOf } from "./geometry";
import { measureText } from "./text";
import type { Geometry, Mark, Position } from "./types";

/** What the layers draw; the annotator keeps it in step. */
export interface Scene {
  visible: boolean;
  marks: readonly Mark[];
  selected: string | null;
  /** The selected one may be changed: its corners are shown. */
  editable: boolean;
  /** Number of the corner that the arrow keys move. */
  corner: number | null;
  /** The shape that is being drawn. */
  draft: Geometry | null;
  draftClass: string;
  /** The keyboard's cross. */
  cursor: Position | null;
  mpp: number | null;
}

/** More corners than this in view are a smear: the reader zooms in first. */
const MOST_CORNERS = 400;
const POINT_PX = 6;
/** More annotations than this in view are drawn without casing, dashes and names. */
const CROWD = 400;

interface Drawn {
  readonly path: Path2D;
  readonly box: Box;
}

const drawn = new WeakMap<Geometry, Drawn>();

function drawnOf(geometry: Geometry): Drawn {
  let found = drawn.get(geometry);
  if (!found) {
    const path = new Path2D();
    for (const { points, closed } of partsOf(geometry)) {
      points.forEach(([x, y], index) => {
        if (index === 0) path.moveTo(x, y);
        else path.lineTo(x, y);
      });
      if (closed) path.closePath();
    }
    found = { path, box: boundsOf(geometry) };
    drawn.set(geometry, found);
  }
  return found;
}

/** A canvas over one view that shows the annotations, drawn again with each frame of it. */
export class MarkLayer {
  readonly #canvas = document.createElement("canvas");
  readonly #viewer: OpenSeadragon.Viewer;
  readonly #slideWidth: number;
  readonly #scene: Scene;
  #crowd: Crowd | null = null;

  constructor(viewer: OpenSeadragon.Viewer, slideWidth: number, scene: Scene) {
    this.#viewer = viewer;
    this.#slideWidth = slideWidth;
    this.#scene = scene;
    this.#canvas.className = "mark-canvas";
    this.#canvas.setAttribute("aria-hidden", "true");
    viewer.canvas.append(this.#canvas);
    viewer.addHandler("update-viewport", () => this.draw());
    viewer.addHandler("resize", () => this.draw());
  }

  /** Level-0 pixels to pixels of the view. */
  toView([x, y]: Position): Position {
    const point = new OpenSeadragon.Point(x / this.#slideWidth, y / this.#slideWidth);
    const at = this.#viewer.viewport.pixelFromPoint(point, true);
    return [at.x, at.y];
  }

  /** Pixels of the window to level-0 pixels. */
  toSlide(clientX: number, clientY: number): Position {
    const box = this.#viewer.canvas.getBoundingClientRect();
    const pixel = new OpenSeadragon.Point(clientX - box.left, clientY - box.top);
    const at = this.#viewer.viewport.pointFromPixel(pixel, true).times(this.#slideWidth);
    return [at.x, at.y];
  }

  /** Where the view begins in the window. */
  origin(): Position {
    const { left, top } = this.#viewer.canvas.getBoundingClientRect();
    return [left, top];
  }

  /** Level-0 pixels in a pixel of the view. */
  get scale(): number {
    const { viewport } = this.#viewer;
    return this.#slideWidth / (viewport.getContainerSize().x * viewport.getZoom(true));
  }

  centre(): Position {
    const at = this.#viewer.viewport.getCenter(true).times(this.#slideWidth);
    return [at.x, at.y];
  }

  /** Show a box in the middle, with what is around it. */
  show(box: Box, immediately: boolean): void {
    const { viewport } = this.#viewer;
    const [w, h] = [box.right - box.left, box.bottom - box.top];
    const room = Math.max(w, h, 200) * 0.6;
    const rect = new OpenSeadragon.Rect(
      (box.left + w / 2 - room - w * 0.3) / this.#slideWidth,
      (box.top + h / 2 - room - h * 0.3) / this.#slideWidth,
      (2 * room + w * 0.6) / this.#slideWidth,
      (2 * room + h * 0.6) / this.#slideWidth,
    );
    viewport.fitBoundsWithConstraints(rect, immediately);
  }

  /** Move the view so that a place is in it. */
  reveal(at: Position, immediately: boolean): void {
    const [x, y] = this.toView(at);
    const size = this.#viewer.viewport.getContainerSize();
    if (x > 20 && y > 20 && x < size.x - 20 && y < size.y - 20) return;
    const [px, py] = at;
    const point = new OpenSeadragon.Point(px / this.#slideWidth, py / this.#slideWidth);
    this.#viewer.viewport.panTo(point, immediately);
  }

  draw(): void {
    const { viewport } = this.#viewer;
    const context = this.#canvas.getContext("2d");
    if (!viewport || !context) return;
    const size = viewport.getContainerSize();
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(size.x * ratio), Math.round(size.y * ratio)];
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    if (this.#scene.visible) this.#drawMarks(context, ratio);
    this.#drawDraft(context, ratio);
  }

  #drawMarks(context: CanvasRenderingContext2D, ratio: number): void {
    const seen = this.#seen();
    const { marks, selected } = this.#scene;
    const others = marks.filter(
      (mark) => mark.id !== selected && meets(drawnOf(mark.geometry).box, seen),
    );
    if (others.length > CROWD) this.#drawCrowd(context, ratio);
    else for (const mark of others) this.#drawMark(context, mark, ratio);
    const chosen = marks.find((mark) => mark.id === selected);
    if (!chosen) return;
    this.#drawMark(context, chosen, ratio);
    if (this.#scene.editable) this.#drawCorners(context, chosen.geometry, seen, ratio);
  }

  #drawCrowd(context: CanvasRenderingContext2D, ratio: number): void {
    const { marks, selected } = this.#scene;
    const px = this.#onSlide(context, ratio);
    const coarseness = 2 ** Math.floor(Math.log2(px));
    if (!this.#crowd?.fits(marks, selected, coarseness)) {
      this.#crowd = new Crowd(marks, selected, coarseness);
    }
    this.#crowd.draw(context, px);
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  /** The part of the slide that is in view, whatever way it is turned. */
  #seen(): Box {
    const bounds = this.#viewer.viewport.getBoundsNoRotate(true);
    const reach = Math.hypot(bounds.width, bounds.height) / 2;
    const [x, y] = this.centre();
    const around = reach * this.#slideWidth;
    return { left: x - around, right: x + around, top: y - around, bottom: y + around };
  }

  #drawMark(context: CanvasRenderingContext2D, mark: Mark, ratio: number): void {
    const { geometry, class_name, mine } = mark;
    const chosen = mark.id === this.#scene.selected;
    if (geometry.type === "Point" || geometry.type === "MultiPoint") {
      for (const { at } of cornersOf(geometry)) {
        this.#drawPoint(context, at, class_name, mine, chosen, ratio);
      }
      return;
    }
    const { path, box } = drawnOf(geometry);
    const px = this.#onSlide(context, ratio);
    if (!isLine(geometry)) {
      context.fillStyle = cssColour(class_name, chosen ? 0.22 : 0.12);
      context.fill(path, "evenodd");
    }
    // Others' outlines are dashed: told apart without colour.
    context.setLineDash(mine ? [] : [7 * px, 5 * px]);
    this.#stroke(context, path, class_name, chosen, px);
    context.setLineDash([]);
    context.setTransform(1, 0, 0, 1, 0, 0);
    if (isLine(geometry)) this.#drawLength(context, geometry, ratio);
    const large = (box.right - box.left) / this.scale > 60;
    if (!mine && mark.author !== "" && (large || chosen)) {
      this.#drawLabel(context, highest(geometry), mark.author, ratio);
    }
  }

  #stroke(
    context: CanvasRenderingContext2D,
    path: Path2D,
    className: string,
    chosen: boolean,
    px: number,
  ): void {
    context.lineJoin = "round";
    context.lineCap = "round";
    context.strokeStyle = chosen ? "#ffd60a" : "rgb(255 255 255 / 0.9)";
    context.lineWidth = (chosen ? 6 : 4) * px;
    context.stroke(path);
    context.strokeStyle = cssColour(className);
    context.lineWidth = 2.2 * px;
    context.stroke(path);
  }

  /** From here on, one unit is a level-0 pixel; returns how many of them are a pixel of the view. */
  #onSlide(context: CanvasRenderingContext2D, ratio: number): number {
    // A long way, so that what the view rounds does not show.
    const far = this.#slideWidth;
    const [zero, right, down] = [this.toView([0, 0]), this.toView([far, 0]), this.toView([0, far])];
    const step = (a: number, b: number) => ((b - a) / far) * ratio;
    context.setTransform(
      step(zero[0], right[0]),
      step(zero[1], right[1]),
      step(zero[0], down[0]),
      step(zero[1], down[1]),
      zero[0] * ratio,
      zero[1] * ratio,
    );
    return this.scale;
  }

  #drawPoint(
    context: CanvasRenderingContext2D,
    at: Position,
    className: string,
    mine: boolean,
    chosen: boolean,
    ratio: number,
  ): void {
    const [x, y] = this.toView(at);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.beginPath();
    context.arc(x, y, POINT_PX, 0, 2 * Math.PI);
    context.fillStyle = cssColour(className, 0.85);
    context.fill();
    context.lineWidth = chosen ? 3.5 : 2;
    context.strokeStyle = chosen ? "#ffd60a" : "#fff";
    context.setLineDash(mine ? [] : [3, 3]);
    context.stroke();
    context.setLineDash([]);
  }

  #drawLength(context: CanvasRenderingContext2D, geometry: Geometry, ratio: number): void {
    const last = partsOf(geometry).at(-1)?.points.at(-1);
    if (last) this.#drawLabel(context, last, measureText(geometry, this.#scene.mpp), ratio);
  }

  #drawLabel(context: CanvasRenderingContext2D, at: Position, text: string, ratio: number): void {
    const [x, y] = this.toView(at);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = "600 12px system-ui, sans-serif";
    const width = context.measureText(text).width + 10;
    context.fillStyle = "rgb(20 24 28 / 0.85)";
    context.fillRect(x + 8, y - 24, width, 19);
    context.fillStyle = "#fff";
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillText(text, x + 13, y - 14);
  }

  #drawCorners(
    context: CanvasRenderingContext2D,
    geometry: Geometry,
    seen: Box,
    ratio: number,
  ): void {
    const corners = cornersInView(geometry, seen);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (const { at, isMiddle, number } of corners) {
      const [x, y] = this.toView(at);
      const half = isMiddle ? 3 : 4.5;
      const current = !isMiddle && number === this.#scene.corner;
      context.fillStyle = current ? "#ffd60a" : isMiddle ? "rgb(255 255 255 / 0.75)" : "#fff";
      context.strokeStyle = "#14181c";
      context.lineWidth = current ? 2.5 : 1.4;
      context.beginPath();
      if (isMiddle) context.arc(x, y, half, 0, 2 * Math.PI);
      else context.rect(x - half, y - half, 2 * half, 2 * half);
      context.fill();
      context.stroke();
    }
    if (geometry.type === "Point") return;
    const [x, y] = this.toView(gripOf(geometry));
    context.beginPath();
    context.arc(x, y, 10, 0, 2 * Math.PI);
    context.fillStyle = "#fff";
    context.fill();
    context.lineWidth = 1.4;
    context.stroke();
    context.beginPath();
    for (const [dx, dy] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ] as const) {
      context.moveTo(x, y);
      context.lineTo(x + 7 * dx, y + 7 * dy);
      context.lineTo(x + 4 * dx + 2.5 * dy, y + 4 * dy + 2.5 * dx);
      context.moveTo(x + 7 * dx, y + 7 * dy);
      context.lineTo(x + 4 * dx - 2.5 * dy, y + 4 * dy - 2.5 * dx);
    }
    context.stroke();
  }

  #drawDraft(context: CanvasRenderingContext2D, ratio: number): void {
    const { draft, draftClass, cursor } = this.#scene;
    if (draft) {
      const px = this.#onSlide(context, ratio);
      const { path } = drawnOf(draft);
      if (!isLine(draft)) {
        context.fillStyle = cssColour(draftClass, 0.12);
        context.fill(path);
      }
      this.#stroke(context, path, draftClass, false, px);
    }
    if (!cursor) return;
    const [x, y] = this.toView(cursor);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (const [colour, width] of [
      ["#fff", 4],
      ["#14181c", 1.6],
    ] as const) {
      context.beginPath();
      context.moveTo(x - 14, y);
      context.lineTo(x + 14, y);
      context.moveTo(x, y - 14);
      context.lineTo(x, y + 14);
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
    }
  }

  /** What a press at this place of the view would take hold of. */
  handleAt(geometry: Geometry, clientX: number, clientY: number): Handle | null {
    const at = this.toSlide(clientX, clientY);
    const reach = 9 * this.scale;
    const near = (place: Position) => Math.hypot(place[0] - at[0], place[1] - at[1]) <= reach;
    // Corners before middles: where an edge is short, its corner is meant.
    const found = cornersInView(geometry, this.#seen()).find((corner) => near(corner.at));
    if (found) return found;
    if (geometry.type !== "Point" && near(gripOf(geometry))) return "grip";
    return null;
  }
}

export type Handle =
  | "grip"
  | {
      readonly part: number;
      readonly index: number;
      readonly at: Position;
      readonly isMiddle: boolean;
      readonly number: number;
    };

function cornersInView(geometry: Geometry, seen: Box): Exclude<Handle, "grip">[] {
  const inView = ({ at: [x, y] }: { readonly at: Position }) =>
    x >= seen.left && x <= seen.right && y >= seen.top && y <= seen.bottom;
  const corners = cornersOf(geometry)
    .map((corner, number) => ({ ...corner, isMiddle: false, number }))
    .filter(inView);
  if (corners.length > MOST_CORNERS) return [];
  const middles = middlesOf(geometry)
    .map((corner) => ({ ...corner, isMiddle: true, number: -1 }))
    .filter(inView);
  return [...corners, ...middles];
}

const meets = (a: Box, b: Box): boolean =>
  a.left <= b.right && a.right >= b.left && a.top <= b.bottom && a.bottom >= b.top;

/** What moves the whole: in the middle of its box; on a line, beside its own middle. */
export function gripOf(geometry: Geometry): Position {
  const [a, b] = partsOf(geometry)[0]?.points ?? [];
  if (isLine(geometry) && a && b) return [a[0] + (b[0] - a[0]) / 4, a[1] + (b[1] - a[1]) / 4];
  const { left, top, right, bottom } = drawnOf(geometry).box;
  return [(left + right) / 2, (top + bottom) / 2];
}

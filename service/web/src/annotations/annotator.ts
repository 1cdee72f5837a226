import type { Slide } from "../api/types";
import { reducedMotion } from "../ui/dom";
import { toast } from "../ui/notice";
import { Draft, isDragged, type Tool } from "./draft";
import {
  areaOf,
  boundsOf,
  contains,
  cornersOf,
  distanceTo,
  isArea,
  moveBy,
  moveCorner,
  removeCorner,
} from "./geometry";
import type { MarkLayer, Scene } from "./layer";
import { type AnnotationStore, TYPING_DELAY_MS } from "./store";
import type { Content, Geometry, Mark, Position } from "./types";

export interface AnnotatorEvents {
  /** Tool, selection or scene changed. */
  readonly changed: () => void;
  /** Something to say to who cannot see the canvas. */
  readonly announce: (text: string) => void;
  /** The slide is signed off: ask for the reason of an amendment. */
  readonly askReason: () => void;
}

const HINTS: Readonly<Record<Tool, string>> = {
  polygon: "Polygon: click to add corners, double-click to close.",
  freehand: "Freehand: draw around the region.",
  rectangle: "Rectangle: drag from corner to corner.",
  point: "Point: click to place it.",
  measure: "Length: drag from end to end.",
};
const BY_KEYS =
  " By keyboard: arrow keys move the crosshair, Space sets a point, Enter finishes, Esc cancels.";

/** What is being drawn, selected and changed, whichever hand does it. */
export class Annotator {
  readonly scene: Scene;
  tool: Tool | null = null;
  className: string;
  /** Whether this reader may draw at all. */
  allowed = true;
  /** What others drew is hidden until the reader has committed. */
  blind = false;
  readonly #slide: Slide;
  readonly #store: AnnotationStore;
  readonly #events: AnnotatorEvents;
  #draft: Draft | null = null;
  /** While a corner or the whole is pulled: how it would be. */
  #pulled: Geometry | null = null;

  constructor(slide: Slide, store: AnnotationStore, className: string, events: AnnotatorEvents) {
    this.#slide = slide;
    this.#store = store;
    this.#events = events;
    this.className = className;
    this.scene = {
      visible: true,
      marks: [],
      selected: null,
      editable: false,
      corner: null,
      draft: null,
      draftClass: className,
      cursor: null,
      mpp: slide.mpp,
    };
  }

  get selected(): Mark | undefined {
    return this.scene.marks.find((mark) => mark.id === this.scene.selected);
  }

  get isDrawing(): boolean {
    return this.#draft !== null;
  }

  get isLocked(): boolean {
    return !this.allowed || (this.#store.signed && this.#store.reason === "");
  }

  /** Bring the scene in line with the store. */
  refresh(): void {
    const { scene } = this;
    const marks = this.#store.marks().filter((mark) => mark.mine || !this.blind);
    const pulled = this.#pulled;
    scene.marks = pulled
      ? marks.map((mark) => (mark.id === scene.selected ? { ...mark, geometry: pulled } : mark))
      : marks;
    if (!this.selected) {
      scene.selected = null;
      scene.corner = null;
    }
    scene.editable = !this.isLocked && this.tool === null;
    scene.draft = this.#draft?.preview() ?? null;
    scene.draftClass = this.className;
    this.#events.changed();
  }

  // --- tools ----------------------------------------------------------------------------------

  choose(tool: Tool | null): void {
    if (tool !== null && !this.#mayDraw()) return;
    this.#draft = null;
    this.tool = tool;
    this.scene.cursor = null;
    this.scene.corner = null;
    if (tool !== null) {
      this.scene.selected = null;
      this.scene.visible = true;
      this.#events.announce(HINTS[tool] + BY_KEYS);
    }
    this.refresh();
  }

  get canEscape(): boolean {
    return this.tool !== null || this.scene.selected !== null;
  }

  /** One step out: the shape, then the tool, then the corner, then the selection. */
  escape(): boolean {
    if (this.#draft) {
      this.#draft = null;
      this.refresh();
    } else if (this.tool !== null) this.choose(null);
    else if (this.scene.corner !== null) {
      this.scene.corner = null;
      this.refresh();
    } else if (this.scene.selected !== null) this.select(null);
    else return false;
    return true;
  }

  #mayDraw(): boolean {
    if (!this.isLocked) return true;
    if (!this.allowed) toast("Your role can view annotations but not draw them.");
    else this.#events.askReason();
    return false;
  }

  // --- drawing --------------------------------------------------------------------------------

  /** Set a point; `pixel` is the width of a pixel of the view on the slide. */
  put(at: Position, pixel: number): void {
    if (this.tool === null) return;
    this.#draft ??= new Draft(this.tool, this.#slide);
    const [first] = this.#draft.points;
    const closes =
      this.tool === "polygon" &&
      first !== undefined &&
      this.#draft.points.length > 2 &&
      Math.hypot(first[0] - at[0], first[1] - at[1]) < 9 * pixel;
    if (closes || this.#draft.put(at)) this.finish(pixel);
    else this.refresh();
  }

  follow(at: Position): void {
    if (!this.#draft) return;
    this.#draft.follow(at);
    this.refresh();
  }

  /** The pointer that drew was let go. */
  endDrag(at: Position, pixel: number): void {
    if (!this.#draft) return;
    if (this.tool === "freehand") this.#draft.follow(at);
    else this.#draft.put(at);
    this.finish(pixel);
  }

  /** Take the last point of the shape back. */
  back(): void {
    this.#draft?.back();
    if (this.#draft?.isEmpty) this.#draft = null;
    this.refresh();
  }

  finish(pixel: number): void {
    const draft = this.#draft;
    this.#draft = null;
    const geometry = draft?.finish(pixel) ?? null;
    if (draft && geometry) this.#add(geometry, draft.tool);
    else if (draft && draft.points.length > 1) toast("Too small for a region. Draw it larger.");
    this.refresh();
  }

  #add(geometry: Geometry, tool: Tool): void {
    const id = crypto.randomUUID();
    const class_name = tool === "measure" ? "unclassified" : this.className;
    this.#store.change(id, { geometry, class_name, comment: "" });
    this.scene.selected = id;
    this.#events.announce(`${tool === "measure" ? "Length" : class_name} added.`);
  }

  // --- keyboard's cross -----------------------------------------------------------------------

  moveCursor(layer: MarkLayer, dx: number, dy: number): void {
    const from = this.scene.cursor ?? layer.centre();
    const { width, height } = this.#slide;
    // The arrow points where it does on screen, however the slide is turned.
    const [zx, zy] = layer.toView(from);
    const box = layer.origin();
    const to = layer.toSlide(box[0] + zx + dx, box[1] + zy + dy);
    this.scene.cursor = [Math.min(Math.max(to[0], 0), width), Math.min(Math.max(to[1], 0), height)];
    layer.reveal(this.scene.cursor, reducedMotion());
    this.#draft?.follow(this.scene.cursor);
    this.refresh();
  }

  putAtCursor(layer: MarkLayer): void {
    this.scene.cursor ??= layer.centre();
    const begun = this.#draft !== null;
    if (this.tool === "freehand" && begun) this.finish(layer.scale);
    else this.put(this.scene.cursor, layer.scale);
  }

  /** End the shape; where none is begun, begin it. */
  enter(layer: MarkLayer): void {
    if (!this.#draft || this.tool === "rectangle" || this.tool === "measure")
      this.putAtCursor(layer);
    else this.finish(layer.scale);
  }

  // --- selecting ------------------------------------------------------------------------------

  select(id: string | null, layer: MarkLayer | null = null): void {
    this.scene.selected = id;
    this.scene.corner = null;
    const chosen = this.#store.marks().find((mark) => mark.id === id);
    if (chosen && layer) layer.show(boundsOf(chosen.geometry), reducedMotion());
    this.refresh();
  }

  /** The next or previous one in the list. */
  stepSelection(step: 1 | -1, layer: MarkLayer | null): void {
    const ids = this.scene.marks.map((mark) => mark.id).reverse();
    if (ids.length === 0) return;
    const at = this.scene.selected === null ? -1 : ids.indexOf(this.scene.selected);
    const next = at < 0 ? (step === 1 ? 0 : ids.length - 1) : (at + step + ids.length) % ids.length;
    this.select(ids[next] ?? null, layer);
  }

  /** The smallest annotation at a place. */
  markAt(at: Position, pixel: number): Mark | undefined {
    if (!this.scene.visible) return undefined;
    const near = this.scene.marks.filter(
      ({ geometry }) => contains(geometry, at) || distanceTo(geometry, at) <= 7 * pixel,
    );
    const size = ({ geometry }: Mark) => (isArea(geometry) ? areaOf(geometry) : 0);
    return near.sort((a, b) => size(a) - size(b))[0];
  }

  // --- changing -------------------------------------------------------------------------------

  change(changes: Partial<Content>, options: { wait?: number; join?: string } = {}): void {
    const { selected } = this;
    const now = selected && this.#store.content(selected.id);
    if (!selected || !now || !this.#mayDraw()) return;
    this.#store.change(selected.id, { ...now, ...changes }, options);
    this.refresh();
  }

  /** Show how the selected one would be; null ends that. */
  pull(geometry: Geometry | null): void {
    this.#pulled = geometry;
    this.refresh();
  }

  remove(): void {
    const { selected, scene } = this;
    if (!selected || !this.#mayDraw()) return;
    const corner = scene.corner === null ? undefined : cornersOf(selected.geometry)[scene.corner];
    if (corner) {
      const less = removeCorner(selected.geometry, corner);
      if (less) {
        scene.corner = null;
        this.change({ geometry: less });
      } else toast("An outline needs this corner. Delete the whole annotation instead.");
      return;
    }
    this.#store.change(selected.id, null);
    this.#events.announce(`${selected.class_name} deleted. Press Z to undo.`);
    this.select(null);
  }

  /** The next corner; before the first one, all of it. */
  stepCorner(step: 1 | -1): void {
    const { selected, scene } = this;
    if (!selected || this.isLocked) return;
    const count = cornersOf(selected.geometry).length;
    const at = (scene.corner ?? -1) + step;
    scene.corner = at < -1 ? count - 1 : at >= count || at < 0 ? null : at;
    const place =
      scene.corner === null ? "Whole annotation" : `Corner ${scene.corner + 1} of ${count}`;
    this.#events.announce(`${place}: Alt and arrows move it.`);
    this.refresh();
  }

  /** Move the corner, or all of the selected one, by pixels of the view. */
  nudge(layer: MarkLayer, dx: number, dy: number): void {
    const { selected, scene } = this;
    if (!selected || !this.#mayDraw()) return;
    const origin = layer.origin();
    const from = layer.toSlide(...origin);
    const to = layer.toSlide(origin[0] + dx, origin[1] + dy);
    const by: Position = [to[0] - from[0], to[1] - from[1]];
    const corner = scene.corner === null ? undefined : cornersOf(selected.geometry)[scene.corner];
    const geometry = corner
      ? moveCorner(
          selected.geometry,
          corner,
          this.inside([corner.at[0] + by[0], corner.at[1] + by[1]]),
        )
      : moveBy(selected.geometry, by, this.#slide);
    this.change({ geometry }, { wait: TYPING_DELAY_MS, join: `nudge ${scene.corner}` });
  }

  inside([x, y]: Position): Position {
    const tenth = (value: number, most: number) =>
      Math.round(Math.min(Math.max(value, 0), most) * 10) / 10;
    return [tenth(x, this.#slide.width), tenth(y, this.#slide.height)];
  }

  moved(geometry: Geometry, by: Position): Geometry {
    return moveBy(geometry, by, this.#slide);
  }

  undo(direction: "undo" | "redo", layer: MarkLayer | null): void {
    if (!this.#mayDraw()) return;
    const id = this.#store.step(direction);
    if (id === null) return;
    this.#events.announce(direction === "undo" ? "Undone." : "Redone.");
    this.select(this.#store.content(id) ? id : null);
    const { selected } = this;
    if (selected && layer) layer.reveal(cornersOf(selected.geometry)[0]?.at ?? [0, 0], true);
  }

  toggle(): void {
    this.scene.visible = !this.scene.visible;
    this.refresh();
  }

  setMpp(mpp: number | null): void {
    this.scene.mpp = mpp;
    this.refresh();
  }

  /** Whether a press begins to draw at once, so that the view must not follow the pointer. */
  get takesDrag(): boolean {
    return this.tool !== null && isDragged(this.tool);
  }
}

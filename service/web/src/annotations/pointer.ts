import type OpenSeadragon from "openseadragon";
import type { Annotator } from "./annotator";
import { insertCorner, moveCorner } from "./geometry";
import type { MarkLayer } from "./layer";
import type { Geometry, Position } from "./types";

const CLICK_PX = 5;
const DOUBLE_MS = 350;

/** What the pointer pulls: the shape while it moves. */
interface Pull {
  readonly id: number;
  readonly shape: ((at: Position) => Geometry) | null;
}

/**
 * Mouse, pen and finger in one view. What draws or pulls is taken before OpenSeadragon sees it;
 * everything else moves the view as ever, a polygon's corners by clicks that do not.
 */
export function listenPointer(
  viewer: OpenSeadragon.Viewer,
  annotator: Annotator,
  layer: MarkLayer,
  onActive: () => void,
): void {
  const host = viewer.element as HTMLElement;
  let pull: Pull | null = null;
  let clicked = { time: -DOUBLE_MS, x: 0, y: 0 };
  let pressed: readonly [number, number] | null = null;

  const at = (event: PointerEvent): Position => layer.toSlide(event.clientX, event.clientY);

  const take = (event: PointerEvent, shape: Pull["shape"]) => {
    pull = { id: event.pointerId, shape };
    // So that it is heard of when the pointer leaves the view. A made-up pointer has no capture.
    if (event.isTrusted) host.setPointerCapture(event.pointerId);
    event.stopPropagation();
    onActive();
  };

  host.addEventListener(
    "pointerdown",
    (event) => {
      const onSlide = (event.target as Element).closest(".openseadragon-canvas");
      const inNavigator = (event.target as Element).closest(".navigator");
      if (pull || !onSlide || inNavigator || event.button !== 0 || !event.isPrimary) return;
      pressed = [event.clientX, event.clientY];
      if (annotator.takesDrag) {
        annotator.put(at(event), layer.scale);
        take(event, null);
        return;
      }
      const shape = grab(annotator, layer, event);
      if (shape) take(event, shape);
    },
    { capture: true },
  );

  host.addEventListener(
    "pointermove",
    (event) => {
      if (pull?.id !== event.pointerId) {
        if (!annotator.takesDrag && event.isPrimary) annotator.follow(at(event));
        return;
      }
      event.stopPropagation();
      if (pull.shape) annotator.pull(pull.shape(at(event)));
      else annotator.follow(at(event));
    },
    { capture: true },
  );

  const release = (event: PointerEvent) => {
    const from = pressed;
    pressed = null;
    if (pull?.id === event.pointerId) {
      const { shape } = pull;
      pull = null;
      event.stopPropagation();
      annotator.pull(null);
      if (event.type === "pointercancel") annotator.escape();
      else if (!shape) annotator.endDrag(at(event), layer.scale);
      else if (from && moved(from, event)) annotator.change({ geometry: shape(at(event)) });
      return;
    }
    if (!from || moved(from, event) || event.type === "pointercancel") return;
    // OpenSeadragon pairs clicks by turns: of three quick ones, the last two are not double to it.
    const isDouble =
      event.timeStamp - clicked.time < DOUBLE_MS && !moved([clicked.x, clicked.y], event);
    clicked = { time: event.timeStamp, x: event.clientX, y: event.clientY };
    if (annotator.tool === "polygon" && isDouble) annotator.finish(layer.scale);
    else if (annotator.tool !== null) annotator.put(at(event), layer.scale);
    else annotator.select(annotator.markAt(at(event), layer.scale)?.id ?? null);
  };
  host.addEventListener("pointerup", release, { capture: true });
  host.addEventListener("pointercancel", release, { capture: true });

  viewer.addHandler("canvas-double-click", (event) => {
    if (annotator.tool !== null) event.preventDefaultAction = true;
  });
}

const moved = (from: readonly [number, number], event: PointerEvent): boolean =>
  Math.hypot(event.clientX - from[0], event.clientY - from[1]) > CLICK_PX;

/** What pulling here would make of the selected annotation; null where there is nothing to hold. */
function grab(
  annotator: Annotator,
  layer: MarkLayer,
  event: PointerEvent,
): ((at: Position) => Geometry) | null {
  const { selected, scene } = annotator;
  if (!selected || !scene.editable || !scene.visible) return null;
  const { geometry } = selected;
  const handle = layer.handleAt(geometry, event.clientX, event.clientY);
  if (handle === null) return null;
  const start = layer.toSlide(event.clientX, event.clientY);
  if (handle === "grip") {
    return (at) => annotator.moved(geometry, [at[0] - start[0], at[1] - start[1]]);
  }
  const shape = handle.isMiddle ? insertCorner(geometry, handle, handle.at) : geometry;
  if (!handle.isMiddle) scene.corner = handle.number;
  return (at) => moveCorner(shape, handle, annotator.inside(at));
}

import { isTyping } from "../ui/dom";
import type { KeySheet } from "../ui/keysheet";
import type { Annotator } from "./annotator";
import type { Tool } from "./draft";
import type { MarkLayer } from "./layer";

export const MARK_KEYS: KeySheet = [
  [["a", "f", "b"], "draw: polygon, freehand, rectangle"],
  [["i", "l"], "draw: point, length"],
  [["Space", "Enter", "Backspace"], "while drawing: set a point, finish, remove the last point"],
  [["j", "Shift j"], "next annotation, previous annotation"],
  [["v", "Shift v"], "next corner, previous corner of the selected annotation"],
  [["Alt ←↑↓→"], "move the corner or the whole annotation; with Shift by one pixel"],
  [["g", "Enter"], "change the class of, comment on the selected annotation"],
  [["Delete"], "delete the corner, or the annotation"],
  [["z", "Shift z"], "undo, redo"],
  [["w"], "annotations on or off"],
];

export const TOOL_KEYS: Readonly<Record<string, Tool>> = {
  a: "polygon",
  f: "freehand",
  b: "rectangle",
  i: "point",
  l: "measure",
};

const ARROWS: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

export interface KeyTargets {
  readonly annotator: Annotator;
  /** The view that keys move. */
  readonly layer: () => MarkLayer | null;
  readonly focusSlide: () => void;
  readonly focusClass: () => void;
  readonly focusComment: () => void;
}

/** Before the viewer's own keys: while something is drawn, arrows and Escape belong to it. */
export function listenMarkKeys(signal: AbortSignal, targets: KeyTargets): void {
  window.addEventListener(
    "keydown",
    (event) => {
      if (isTyping(event) || document.querySelector("dialog[open]")) return;
      const act = modified(event, targets) ?? plain(event, targets);
      if (!act) return;
      event.preventDefault();
      event.stopPropagation();
      act();
    },
    { signal, capture: true },
  );
}

function modified(event: KeyboardEvent, targets: KeyTargets): (() => void) | null {
  const { annotator } = targets;
  const layer = targets.layer();
  const arrow = ARROWS[event.key];
  if (event.altKey && arrow && layer && annotator.selected) {
    const step = event.shiftKey ? 1 : 10;
    return () => annotator.nudge(layer, arrow[0] * step, arrow[1] * step);
  }
  if (!(event.ctrlKey || event.metaKey) || event.altKey) return null;
  const key = event.key.toLowerCase();
  const redo = key === "y" || (key === "z" && event.shiftKey);
  if (key !== "z" && key !== "y") return null;
  return () => annotator.undo(redo ? "redo" : "undo", layer);
}

function plain(event: KeyboardEvent, targets: KeyTargets): (() => void) | null {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  const { annotator } = targets;
  const layer = targets.layer();
  // A button or a list that has the focus keeps its own keys.
  const target = event.target as HTMLElement | null;
  const isFree = !target?.closest("button, a, input, select, summary, .panel, [role=grid]");
  if (isFree && layer) {
    const act = inView(event, targets, layer);
    if (act) return act;
  }
  const tool = TOOL_KEYS[event.key];
  if (tool && !event.repeat) {
    return () => {
      annotator.choose(annotator.tool === tool ? null : tool);
      if (annotator.tool !== null) targets.focusSlide();
    };
  }
  const table: Readonly<Record<string, () => void>> = {
    j: () => annotator.stepSelection(1, layer),
    J: () => annotator.stepSelection(-1, layer),
    v: () => annotator.stepCorner(1),
    V: () => annotator.stepCorner(-1),
    z: () => annotator.undo("undo", layer),
    Z: () => annotator.undo("redo", layer),
    w: () => annotator.toggle(),
  };
  if (event.key === "Escape") return annotator.canEscape ? () => annotator.escape() : null;
  if (event.key === "g" && annotator.selected) return targets.focusClass;
  if (event.key === "Delete" && annotator.selected) return () => annotator.remove();
  return table[event.key] ?? null;
}

/** Keys that need the focus to be nowhere else. */
function inView(event: KeyboardEvent, targets: KeyTargets, layer: MarkLayer): (() => void) | null {
  const { annotator } = targets;
  const arrow = ARROWS[event.key];
  if (annotator.tool !== null) {
    const step = event.shiftKey ? 2 : 12;
    if (arrow) return () => annotator.moveCursor(layer, arrow[0] * step, arrow[1] * step);
    if (event.key === " ") return () => annotator.putAtCursor(layer);
    if (event.key === "Enter") return () => annotator.enter(layer);
    if (event.key === "Backspace") return () => annotator.back();
  } else if (annotator.selected) {
    if (event.key === "Enter") return targets.focusComment;
    if (event.key === "Backspace") return () => annotator.remove();
  }
  return null;
}

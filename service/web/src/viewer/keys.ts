import { MARK_KEYS } from "../annotations/keys";
import type { Decision } from "../pure/review";
import { MAGNIFICATION_KEYS } from "../pure/scale";
import { isTyping } from "../ui/dom";
import { type KeySheet, showKeySheet } from "../ui/keysheet";
import type { SlidePane } from "./pane";
import type { Mode } from "./state";

/** The keys of the viewer, and the sheet that lists them. */

export interface KeyActions {
  readonly pane: () => SlidePane | undefined;
  readonly hold: (held: boolean) => void;
  readonly toggleOverlay: () => void;
  readonly threshold: (step: number) => void;
  readonly hotspot: (step: 1 | -1) => void;
  readonly mode: (mode: Mode) => void;
  readonly cycle: (what: "pipeline" | "kind" | "className") => void;
  readonly decide: (decision: Decision) => void;
  readonly decideAndGoOn: (decision: Decision) => void;
  readonly comment: () => void;
  readonly sign: () => void;
  readonly tissue: () => void;
  readonly slide: (step: 1 | -1) => void;
  readonly leave: () => void;
}

const SHEET: KeySheet = [
  [["1", "2", "3", "4", "5"], "2.5×, 5×, 10×, 20×, 40×"],
  [["+", "-", "0"], "zoom in, zoom out, whole slide"],
  [["←", "↑", "↓", "→"], "pan"],
  [["r", "Shift r"], "rotate right, rotate left"],
  [["n", "p"], "next hotspot, previous hotspot"],
  [["y", "x", "u"], "agree, disagree, unsure on the current hotspot; press again to undo"],
  [["Shift y", "Shift x", "Shift u"], "the same, then on to the next undecided hotspot"],
  [["m"], "comment on the current hotspot; Enter returns to the slide"],
  [["e"], "sign off: a digit chooses the diagnosis, Ctrl Enter signs"],
  [["Shift n", "Shift p"], "next slide, previous slide of the worklist"],
  [["o"], "heatmap on or off"],
  [["h"], "hide the heatmap while held"],
  [["q"], "outlines of tissue and of quality problems"],
  [["[", "]"], "threshold down, up"],
  [["t"], "next pipeline"],
  [["k"], "next map"],
  [["c"], "next class"],
  [["s"], "side by side"],
  [["d"], "swipe divider"],
  ...MARK_KEYS,
  [["?"], "this list of keys"],
  [["Esc"], "close the comparison, then return to the worklist"],
];

export function showKeyHelp(): void {
  showKeySheet(SHEET);
}

export function listenKeys(signal: AbortSignal, actions: KeyActions): void {
  window.addEventListener("keydown", (event) => onKey(event, actions), { signal });
  window.addEventListener(
    "keyup",
    (event) => {
      if (event.key === "h" || event.key === "H") actions.hold(false);
    },
    { signal },
  );
  // A key released in another window is never heard of here.
  window.addEventListener("blur", () => actions.hold(false), { signal });
}

function onKey(event: KeyboardEvent, actions: KeyActions): void {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
  if (document.querySelector("dialog[open]")) return;
  const act = action(event, actions);
  if (!act) return;
  event.preventDefault();
  act();
}

function action(event: KeyboardEvent, actions: KeyActions): (() => void) | null {
  const power = MAGNIFICATION_KEYS[event.key];
  if (power !== undefined) return () => actions.pane()?.setMagnification(power);
  const target = event.target as HTMLElement | null;
  // Arrows and plus belong to a slider or a list while it has the focus.
  const inViewer = !target?.closest("input, select, .panel, [role=grid]");
  const pan = PANS[event.key];
  if (pan && inViewer) return () => actions.pane()?.panBy(...pan);
  switch (event.key) {
    case "+":
    case "=":
      return () => actions.pane()?.zoomBy(1.5);
    case "-":
      return () => actions.pane()?.zoomBy(1 / 1.5);
    case "0":
      return () => actions.pane()?.fit();
    case "r":
      return () => actions.pane()?.rotateBy(90);
    case "R":
      return () => actions.pane()?.rotateBy(-90);
    case "[":
      return () => actions.threshold(-0.05);
    case "]":
      return () => actions.threshold(0.05);
    default:
      return letter(event, actions);
  }
}

const PANS: Readonly<Record<string, [number, number]>> = {
  ArrowLeft: [-0.2, 0],
  ArrowRight: [0.2, 0],
  ArrowUp: [0, -0.2],
  ArrowDown: [0, 0.2],
};

function letter(event: KeyboardEvent, actions: KeyActions): (() => void) | null {
  if (event.key === "h") return () => actions.hold(true);
  if (event.repeat && !["n", "p"].includes(event.key)) return null;
  const table: Readonly<Record<string, () => void>> = {
    n: () => actions.hotspot(1),
    p: () => actions.hotspot(-1),
    o: actions.toggleOverlay,
    y: () => actions.decide("agree"),
    x: () => actions.decide("disagree"),
    u: () => actions.decide("unsure"),
    Y: () => actions.decideAndGoOn("agree"),
    X: () => actions.decideAndGoOn("disagree"),
    U: () => actions.decideAndGoOn("unsure"),
    m: actions.comment,
    e: actions.sign,
    N: () => actions.slide(1),
    P: () => actions.slide(-1),
    q: actions.tissue,
    t: () => actions.cycle("pipeline"),
    k: () => actions.cycle("kind"),
    c: () => actions.cycle("className"),
    s: () => actions.mode("side"),
    d: () => actions.mode("swipe"),
    "?": showKeyHelp,
    Escape: actions.leave,
  };
  return table[event.key] ?? null;
}

import type { Order, StateFilter } from "./pure/worklist";
import { recallHere, rememberHere } from "./settings";

/** How the worklist was left: its search, filter and order, and the slides in that order. */
export interface WorklistView {
  readonly words: string;
  readonly state: StateFilter;
  readonly batch: string;
  readonly order: Order | null;
  readonly ids: readonly string[];
  /** The slide that was opened last. */
  readonly opened: string | null;
}

const KEY = "wholeslide.worklist";

const FRESH: WorklistView = {
  words: "",
  state: "all",
  batch: "",
  order: null,
  ids: [],
  opened: null,
};

let view: WorklistView | null = null;

/** Of this tab; it survives a reload. */
export function worklistView(): WorklistView {
  view ??= { ...FRESH, ...(JSON.parse(recallHere(KEY) ?? "{}") as Partial<WorklistView>) };
  return view;
}

export function leaveWorklist(changes: Partial<WorklistView>): void {
  view = { ...worklistView(), ...changes };
  rememberHere(KEY, view);
}

export interface Neighbours {
  /** From 1. */
  readonly place: number;
  readonly count: number;
  readonly previous: string | null;
  readonly next: string | null;
}

/** The slides before and after this one in the worklist as it was left; null if it is not there. */
export function neighbours(slideId: string): Neighbours | null {
  const { ids } = worklistView();
  const at = ids.indexOf(slideId);
  if (at < 0) return null;
  return {
    place: at + 1,
    count: ids.length,
    previous: ids[at - 1] ?? null,
    next: ids[at + 1] ?? null,
  };
}

import type { Content } from "./types";

/** What a reader did here, to be taken back one step at a time. */

export interface Step {
  readonly id: string;
  readonly before: Content | null;
  readonly after: Content | null;
}

export class UndoList {
  #done: Step[] = [];
  #undone: Step[] = [];
  #join: string | null = null;

  get canUndo(): boolean {
    return this.#done.length > 0;
  }

  get canRedo(): boolean {
    return this.#undone.length > 0;
  }

  /** Steps in a row with the same `join` are one: letters of a comment, presses of an arrow key. */
  add(step: Step, join: string | null = null): void {
    const last = this.#done.at(-1);
    if (last && join !== null && join === this.#join && last.id === step.id) {
      this.#done[this.#done.length - 1] = { ...last, after: step.after };
    } else this.#done.push(step);
    this.#join = join;
    this.#undone = [];
  }

  take(direction: "undo" | "redo"): Step | undefined {
    const [from, to] =
      direction === "undo" ? [this.#done, this.#undone] : [this.#undone, this.#done];
    const step = from.pop();
    if (step) to.push(step);
    this.#join = null;
    return step;
  }
}

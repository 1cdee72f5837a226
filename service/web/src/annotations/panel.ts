import { fill, h, setText } from "../ui/dom";
import { cssColour } from "./classes";
import { classOptions, classPicker, isNewClass, isTooMany, MarkRow, type RowActions } from "./row";
import type { SaveState } from "./store";
import type { Mark } from "./types";

export interface PanelActions extends RowActions {
  readonly setClass: (name: string) => void;
  readonly newClass: () => Promise<string | null>;
  readonly undo: () => void;
  readonly redo: () => void;
  readonly importFile: () => void;
  readonly amend: () => void;
  readonly setVisible: (on: boolean) => void;
  readonly exportUrl: string;
  readonly slideName: string;
}

export interface PanelState {
  readonly marks: readonly Mark[];
  readonly selected: string | null;
  readonly className: string;
  readonly classes: readonly string[];
  readonly mpp: number | null;
  readonly visible: boolean;
  readonly allowed: boolean;
  readonly locked: boolean;
  readonly signed: boolean;
  readonly loaded: boolean;
  readonly canUndo: boolean;
  readonly canRedo: boolean;
  readonly save: { readonly state: SaveState; readonly problem: string; readonly unsent: number };
  readonly kept: boolean;
  /** Others' annotations are hidden from a blind reader. */
  readonly blind: boolean;
}

/** The annotations as a list, for eyes, keyboards and screen readers. */
export class MarkPanel {
  readonly element: HTMLElement;
  readonly #actions: PanelActions;
  readonly #status = h("span", { class: "quiet mark-status", role: "status" });
  readonly #select: HTMLSelectElement;
  readonly #swatch = h("span", { class: "swatch", "aria-hidden": "true" });
  readonly #undo: HTMLButtonElement;
  readonly #redo: HTMLButtonElement;
  readonly #import: HTMLButtonElement;
  readonly #visible: HTMLInputElement;
  readonly #locked = h("p", { class: "notice-line", hidden: true });
  readonly #export: HTMLElement;
  readonly #empty = h("p", { class: "quiet" });
  readonly #list = h("ul", { class: "mark-list", "aria-label": "Annotations, newest first" });
  readonly #more = h("p", { class: "quiet", hidden: true });
  readonly #rows = new Map<string, MarkRow>();
  #classes = "";
  #className = "";

  constructor(actions: PanelActions) {
    this.#actions = actions;
    const small = (label: string, onclick: () => void) =>
      h("button", { type: "button", class: "button small", onclick }, label);
    this.#undo = small("Undo", actions.undo);
    this.#redo = small("Redo", actions.redo);
    this.#undo.title = "Undo (z)";
    this.#redo.title = "Redo (Shift z)";
    this.#import = small("Import…", actions.importFile);
    this.#export = h(
      "a",
      {
        class: "button small",
        href: actions.exportUrl,
        download: `${actions.slideName}.geojson`,
        title: "As GeoJSON, for QuPath",
      },
      "Export",
    );
    this.#visible = h("input", {
      type: "checkbox",
      onchange: () => actions.setVisible(this.#visible.checked),
    });
    this.#select = classPicker(
      "Class of new annotations",
      (value) => this.#choose(value),
      actions.backToSlide,
    );
    this.element = h(
      "div",
      { class: "marks" },
      h(
        "div",
        { class: "row" },
        h("label", { class: "inline", title: "w" }, this.#visible, "Show"),
        this.#status,
      ),
      this.#locked,
      h(
        "div",
        { class: "row" },
        h("span", { class: "inline mark-class" }, "New:", this.#swatch, this.#select),
        h("span", { class: "inline" }, this.#undo, this.#redo),
      ),
      this.#empty,
      this.#list,
      this.#more,
      h("div", { class: "inline" }, this.#import, this.#export),
    );
  }

  show(state: PanelState): void {
    this.#showStatus(state);
    this.#visible.checked = state.visible;
    this.#showClasses(state);
    this.#undo.disabled = !state.canUndo || state.locked;
    this.#redo.disabled = !state.canRedo || state.locked;
    this.#import.disabled = !state.allowed;
    // The file holds what others drew.
    this.#export.hidden = state.blind;
    this.#showList(state);
  }

  focusClass(id: string): void {
    this.#rows.get(id)?.focusClass();
  }

  focusComment(id: string): void {
    this.#rows.get(id)?.focusComment();
  }

  async #choose(value: string): Promise<void> {
    const name = isNewClass(value) ? await this.#actions.newClass() : value;
    if (name !== null) this.#actions.setClass(name);
    // Where no name was given, the class is the one it was.
    else this.#select.value = this.#className;
  }

  #showStatus({ save, kept, loaded, signed, locked, allowed }: PanelState): void {
    setText(this.#status, statusText(save, kept, loaded));
    this.#status.classList.toggle("is-unsent", save.unsent > 0);
    const notice = !allowed
      ? "Your role can view annotations but not change them."
      : signed
        ? "This slide is signed off."
        : "";
    this.#locked.hidden = notice === "";
    if (this.#locked.textContent?.startsWith(notice) !== true || notice === "") {
      const amend = h(
        "button",
        { type: "button", class: "link", onclick: this.#actions.amend },
        "Amend annotations…",
      );
      fill(this.#locked, h("span", {}, notice), signed && allowed && amend);
    }
    const button = this.#locked.querySelector("button");
    if (button) button.hidden = !locked;
  }

  #showClasses({ classes, className }: PanelState): void {
    const names = classes.includes(className) ? classes : [...classes, className];
    if (names.join("\n") !== this.#classes) {
      this.#classes = names.join("\n");
      fill(this.#select, classOptions(names));
    }
    this.#className = className;
    this.#select.value = className;
    this.#swatch.style.background = cssColour(className);
  }

  #showList(state: PanelState): void {
    const newest = [...state.marks].reverse();
    const shown = newest.filter((mark, index) => !isTooMany(index) || mark.id === state.selected);
    const ids = new Set(shown.map((mark) => mark.id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    let after: Element | null = null;
    for (const mark of shown) {
      let row = this.#rows.get(mark.id);
      if (!row) {
        row = new MarkRow(mark.id, this.#actions, () => this.#actions.newClass());
        this.#rows.set(mark.id, row);
      }
      // Moving an element takes the focus from it: only where it is not in its place.
      const place: Element | null = after ? after.nextElementSibling : this.#list.firstElementChild;
      if (place !== row.element) this.#list.insertBefore(row.element, place);
      after = row.element;
      row.show(mark, state);
    }
    this.#empty.hidden = state.marks.length > 0 || !state.loaded;
    setText(
      this.#empty,
      "No annotations yet. Choose a tool on the slide, or press a, f, b, i or l.",
    );
    const rest = state.marks.length - shown.length;
    this.#more.hidden = rest === 0;
    setText(this.#more, `And ${rest} more: select them on the slide, or press j.`);
  }
}

export function statusText(
  { state, problem, unsent }: PanelState["save"],
  kept: boolean,
  loaded: boolean,
): string {
  const rest = `: ${unsent} not sent${kept ? "" : "; do not close this page"}`;
  switch (state) {
    case "saved":
      return "Saved";
    case "saving":
      return loaded ? "Saving…" : "Loading…";
    case "offline":
      return (problem === "" ? "Offline" : "Service busy") + (unsent === 0 ? "" : rest);
    case "signed-out":
      return `Signed out${unsent === 0 ? "" : rest}`;
    case "refused":
      return `${unsent} not saved`;
  }
}

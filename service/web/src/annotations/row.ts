import { fill, h, setText } from "../ui/dom";
import { cssColour } from "./classes";
import type { PanelState } from "./panel";
import { titleOf } from "./summary";
import { factsOf } from "./text";
import type { Mark } from "./types";

export interface RowActions {
  /** Choose it and go to it. */
  readonly choose: (id: string) => void;
  readonly classify: (id: string, name: string) => void;
  readonly comment: (id: string, text: string) => void;
  readonly remove: (id: string) => void;
  readonly history: (id: string) => void;
  readonly backToSlide: () => void;
}

const MOST_ROWS = 200;
/** No class can be called so. */
const NEW = "\u0000new";

/** The list is for reading; thousands of rows are looked at on the slide. */
export const isTooMany = (index: number): boolean => index >= MOST_ROWS;

/** One annotation in the list; chosen, it shows what can be changed. */
export class MarkRow {
  readonly element: HTMLLIElement;
  readonly #id: string;
  readonly #actions: RowActions;
  readonly #newClass: () => Promise<string | null>;
  readonly #swatch = h("span", { class: "swatch", "aria-hidden": "true" });
  readonly #name = h("strong");
  readonly #facts = h("span", { class: "quiet" });
  readonly #said = h("span", { class: "mark-said" });
  readonly #button: HTMLButtonElement;
  #fields: Fields | null = null;
  #className = "";

  constructor(id: string, actions: RowActions, newClass: () => Promise<string | null>) {
    this.#id = id;
    this.#actions = actions;
    this.#newClass = newClass;
    this.#button = h(
      "button",
      { type: "button", class: "mark", onclick: () => actions.choose(id) },
      this.#swatch,
      h("span", { class: "spot-text" }, this.#name, this.#facts, this.#said),
    );
    this.element = h("li", { "data-id": id }, this.#button);
  }

  show(mark: Mark, state: PanelState): void {
    const chosen = state.selected === mark.id;
    this.#className = mark.class_name;
    setText(this.#name, titleOf(mark));
    setText(this.#facts, factsOf(mark, state.mpp));
    setText(this.#said, chosen ? "" : mark.comment);
    this.#swatch.style.background = cssColour(mark.class_name);
    this.#swatch.classList.toggle("is-others", !mark.mine);
    if (chosen) this.#button.setAttribute("aria-current", "true");
    else this.#button.removeAttribute("aria-current");
    if (!chosen) {
      this.#fields?.element.remove();
      this.#fields = null;
      return;
    }
    if (!this.#fields) {
      this.#fields = this.#makeFields();
      this.element.append(this.#fields.element);
      this.element.scrollIntoView({ block: "nearest" });
    }
    showFields(this.#fields, mark, state);
  }

  focusClass(): void {
    this.#fields?.select.focus();
  }

  focusComment(): void {
    this.#fields?.comment.focus();
  }

  #makeFields(): Fields {
    const id = this.#id;
    const select = classPicker(
      "Class of this annotation",
      async (value) => {
        const name = isNewClass(value) ? await this.#newClass() : value;
        if (name === null) select.value = this.#className;
        else this.#actions.classify(id, name);
      },
      this.#actions.backToSlide,
    );
    const comment = h("input", {
      type: "text",
      maxlength: 4000,
      placeholder: "Comment",
      "aria-label": "Comment on this annotation",
      oninput: () => this.#actions.comment(id, comment.value),
      onkeydown: (event: Event) => this.#leaveOn(event as KeyboardEvent),
    });
    const remove = h(
      "button",
      {
        type: "button",
        class: "button small",
        title: "Delete (Delete)",
        onclick: () => this.#actions.remove(id),
      },
      "Delete",
    );
    const history = h(
      "button",
      { type: "button", class: "button small", onclick: () => this.#actions.history(id) },
      "History",
    );
    const element = h(
      "div",
      { class: "mark-fields" },
      h("div", { class: "row" }, select, history, remove),
      comment,
    );
    return { element, select, comment, remove, classes: "" };
  }

  /** Back to the slide, where the keys work. */
  #leaveOn(event: KeyboardEvent): void {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    this.#actions.backToSlide();
  }
}

/**
 * A class picker. Chosen by mouse, it hands the focus back to the slide: the next letter shall be
 * a tool and no other class. Chosen by keyboard it keeps the focus until Escape.
 */
export function classPicker(
  label: string,
  choose: (value: string) => Promise<void>,
  backToSlide: () => void,
): HTMLSelectElement {
  let byPointer = false;
  const chosen = async () => {
    const back = byPointer;
    await choose(select.value);
    if (back) backToSlide();
    else select.focus();
  };
  const select = h("select", {
    "aria-label": label,
    onchange: () => void chosen(),
    onpointerdown: () => {
      byPointer = true;
    },
    onkeydown: (event: Event) => {
      byPointer = false;
      if ((event as KeyboardEvent).key !== "Escape") return;
      event.stopPropagation();
      backToSlide();
    },
  });
  return select;
}

/** Options of a class picker; the last one asks for a new name. */
export function classOptions(names: readonly string[]): HTMLElement[] {
  return [
    ...names.map((name) => h("option", { value: name }, name)),
    h("option", { value: NEW }, "New class…"),
  ];
}

export const isNewClass = (value: string): boolean => value === NEW;

interface Fields {
  readonly element: HTMLElement;
  readonly select: HTMLSelectElement;
  readonly comment: HTMLInputElement;
  readonly remove: HTMLButtonElement;
  classes: string;
}

function showFields(fields: Fields, mark: Mark, state: PanelState): void {
  const all = [...new Set([...state.classes, mark.class_name, "unclassified"])];
  if (fields.classes !== all.join("\n")) {
    fields.classes = all.join("\n");
    fill(fields.select, classOptions(all));
  }
  fields.select.value = mark.class_name;
  // While the reader types, what comes back from the service is older than the field.
  if (document.activeElement !== fields.comment) fields.comment.value = mark.comment;
  for (const field of [fields.select, fields.comment, fields.remove]) field.disabled = state.locked;
}

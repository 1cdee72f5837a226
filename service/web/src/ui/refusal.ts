import "./refusal.css";
import { fill, h } from "./dom";
import { icon } from "./icons";

export interface RefusalAction {
  readonly label: string;
  readonly act: () => void;
}

/** What the service said, as a sentence of its own. */
export const sentence = (text: string): string =>
  text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

/** A change that the service did not take: what happened, and what the reader can do about it. */
export class RefusalNotice {
  readonly element = h("section", { class: "refusal", role: "alert", hidden: true });
  #shown = "";

  /** Null where nothing is refused. Built anew only when it differs: a button may have the focus. */
  show(text: string | null, actions: readonly RefusalAction[] = []): void {
    const shown = text === null ? "" : [text, ...actions.map(({ label }) => label)].join("\n");
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.element.hidden = text === null;
    // Nothing to do: it goes by.
    this.element.classList.toggle("is-passing", actions.length === 0);
    fill(
      this.element,
      icon("alert", 18),
      h("p", {}, text ?? ""),
      actions.length > 0 &&
        h(
          "div",
          { class: "refusal-actions" },
          actions.map(({ label, act }, index) =>
            h(
              "button",
              { type: "button", class: index === 0 ? "button primary" : "button", onclick: act },
              label,
            ),
          ),
        ),
    );
  }
}

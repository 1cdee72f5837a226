import "./refusal.css";
import { render } from "preact";
import { h } from "./dom";
import { Icon } from "./icons";

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

  /** Null where nothing is refused. */
  show(text: string | null, actions: readonly RefusalAction[] = []): void {
    this.element.hidden = text === null;
    // Nothing to do: it goes by.
    this.element.classList.toggle("is-passing", actions.length === 0);
    render(text === null ? null : <Refusal text={text} actions={actions} />, this.element);
  }
}

function Refusal({ text, actions }: { text: string; actions: readonly RefusalAction[] }) {
  return (
    <>
      <Icon name="alert" />
      <p>{text}</p>
      {actions.length > 0 && (
        <div class="refusal-actions">
          {actions.map(({ label, act }, index) => (
            <button
              key={label}
              type="button"
              class={index === 0 ? "button primary" : "button"}
              onClick={act}
            >
              {label}
            </button>
          ))}
        </div>
      )}
    </>
  );
}

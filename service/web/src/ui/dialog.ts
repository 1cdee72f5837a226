import { h } from "./dom";
import { icon } from "./icons";

/** A modal dialog on the platform's own element: focus is kept inside and given back. */
export function openDialog(title: string, body: readonly (Node | string)[]): HTMLDialogElement {
  const heading = `dialog-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
  const dialog = h(
    "dialog",
    { "aria-labelledby": heading },
    h(
      "header",
      { class: "dialog-head" },
      h("h2", { id: heading }, title),
      h(
        "button",
        { class: "icon-button", "aria-label": "Close", onclick: () => dialog.close() },
        icon("close"),
      ),
    ),
    h("div", { class: "dialog-body" }, [...body]),
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Ask for a slide's resolution. Null where the reader gives up. */
export function askMpp(slideName: string, reason: string): Promise<number | null> {
  return new Promise((resolve) => {
    let answer: number | null = null;
    const field = h("input", {
      type: "number",
      min: "0.01",
      max: "100",
      step: "any",
      required: true,
      id: "mpp-field",
      inputmode: "decimal",
      autofocus: true,
    });
    const preset = (mpp: number, power: string) =>
      h(
        "button",
        {
          type: "button",
          class: "chip",
          onclick: () => {
            field.value = String(mpp);
            field.focus();
          },
        },
        `${mpp} (${power})`,
      );
    const form = h(
      "form",
      {
        method: "dialog",
        onsubmit: (event: Event) => {
          const value = Number(field.value);
          if (!(value > 0)) event.preventDefault();
          else answer = value;
        },
      },
      h("p", {}, reason || "This slide states no resolution, and a model needs one."),
      h("label", { for: "mpp-field" }, "Micrometres per pixel at full resolution"),
      h(
        "div",
        { class: "field-row" },
        field,
        preset(0.25, "40×"),
        preset(0.5, "20×"),
        preset(1, "10×"),
      ),
      h(
        "div",
        { class: "actions end" },
        h("button", { type: "submit", class: "button primary" }, "Use this resolution"),
      ),
    );
    const dialog = openDialog(`Resolution of ${slideName}`, [form]);
    dialog.addEventListener("close", () => resolve(answer));
  });
}

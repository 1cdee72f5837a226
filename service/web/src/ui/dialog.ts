import "./dialog.css";
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

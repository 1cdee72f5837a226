import "./keysheet.css";
import { openDialog } from "./dialog";
import { h } from "./dom";

export type KeySheet = readonly (readonly [keys: readonly string[], what: string])[];

/** The sheet that lists a place's keys. */
export function showKeySheet(sheet: KeySheet): void {
  if (document.querySelector("dialog[open]")) return;
  openDialog("Keys", [
    h(
      "dl",
      { class: "key-sheet" },
      sheet.map(([keys, what]) =>
        h(
          "div",
          {},
          h(
            "dt",
            {},
            keys.map((key) => h("kbd", {}, key)),
          ),
          h("dd", {}, what),
        ),
      ),
    ),
  ]);
}

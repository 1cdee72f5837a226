import { messageOf } from "../api/client";
import { openDialog } from "../ui/dialog";
import { h, setText } from "../ui/dom";
import type { ImportOutcome } from "./types";

/** Ask for one line of text; null where the reader gives up. */
export function askText(title: string, label: string, hint: string): Promise<string | null> {
  return new Promise((resolve) => {
    let answer: string | null = null;
    const field = h("input", { type: "text", id: "asked-text", required: true, maxlength: 64 });
    const form = h(
      "form",
      {
        method: "dialog",
        onsubmit: (event: Event) => {
          const text = field.value.trim();
          if (text === "") event.preventDefault();
          else answer = text;
        },
      },
      hint !== "" && h("p", {}, hint),
      h("label", { for: "asked-text" }, label),
      field,
      h(
        "div",
        { class: "actions end" },
        h("button", { type: "submit", class: "button primary" }, "OK"),
      ),
    );
    const dialog = openDialog(title, [form]);
    dialog.addEventListener("close", () => resolve(answer));
    field.focus();
  });
}

export interface ImportWish {
  readonly newClasses: boolean;
  readonly repair: boolean;
}

/** Choose a file and import it; what is wrong with it is said beside it. */
export function openImport(
  send: (file: File, wish: ImportWish) => Promise<ImportOutcome>,
  done: (outcome: ImportOutcome) => void,
): void {
  const file = h("input", {
    type: "file",
    id: "import-file",
    accept: ".geojson,.json,application/geo+json",
    required: true,
  });
  const newClasses = h("input", { type: "checkbox" });
  const repair = h("input", { type: "checkbox" });
  const failure = h("p", { class: "failure", role: "alert", hidden: true });
  const submit = h("button", { type: "submit", class: "button primary" }, "Import");
  const start = async (event: Event) => {
    event.preventDefault();
    const chosen = file.files?.[0];
    if (!chosen) return;
    submit.disabled = true;
    failure.hidden = true;
    try {
      const wish = { newClasses: newClasses.checked, repair: repair.checked };
      const outcome = await send(chosen, wish);
      dialog.close();
      done(outcome);
    } catch (error) {
      failure.hidden = false;
      setText(failure, `Nothing was imported. ${messageOf(error)}`);
    }
    submit.disabled = false;
  };
  const form = h(
    "form",
    { onsubmit: (event: Event) => void start(event) },
    h("label", { for: "import-file" }, "GeoJSON file, as exported by QuPath"),
    file,
    h("label", { class: "inline" }, newClasses, "Add classes that do not exist yet"),
    h("label", { class: "inline" }, repair, "Fix self-intersecting outlines"),
    failure,
    h("div", { class: "actions end" }, submit),
  );
  const dialog = openDialog("Import annotations", [form]);
}

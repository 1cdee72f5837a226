import "./dialogs.css";
import type { Model, Slide } from "../api/types";
import { pipelineTitle } from "../pure/format";
import { pipelineNames } from "../pure/worklist";
import { openDialog } from "../ui/dialog";
import { h } from "../ui/dom";
import { icon } from "../ui/icons";
import { showKeySheet } from "../ui/keysheet";
import { toast } from "../ui/notice";
import type { Choice } from "./data";

/** Ask which pipelines shall score the slides. */
export function askPipelines(
  slides: readonly Slide[],
  models: readonly Model[],
  start: (choices: readonly Choice[]) => void,
): void {
  const pipelines = pipelineNames([], [...new Set(models.map((model) => model.pipeline))]);
  if (pipelines.length === 0) {
    toast("No model is installed, so nothing can be scored yet.", "error");
    return;
  }
  const boxes = pipelines.map((value) => h("input", { type: "checkbox", value, checked: true }));
  const selects = new Map<string, HTMLSelectElement>();
  const rows = boxes.map((box) => {
    const mine = models.filter((model) => model.pipeline === box.value);
    const label = h(
      "label",
      { class: "pick" },
      box,
      h(
        "span",
        {},
        h("strong", {}, pipelineTitle(box.value)),
        mine.length === 1 &&
          h("span", { class: "quiet" }, `${mine[0]?.name} · ${mine[0]?.architecture}`),
      ),
    );
    if (mine.length < 2) return label;
    const select = h(
      "select",
      { "aria-label": `Model of the ${box.value} pipeline` },
      h("option", { value: "" }, "newest model"),
      mine.map(({ name }) => h("option", { value: name }, name)),
    );
    selects.set(box.value, select);
    return h("div", { class: "pick-row" }, label, select);
  });
  const go = h(
    "button",
    {
      class: "button primary",
      onclick: () => {
        dialog.close();
        start(
          boxes
            .filter((box) => box.checked)
            .map(({ value }) => ({ pipeline: value, model: selects.get(value)?.value || null })),
        );
      },
    },
    icon("play", 16),
    "Start",
  );
  const title = slides.length === 1 ? `Score ${slides[0]?.name}` : `Score ${slides.length} slides`;
  const dialog = openDialog(title, [
    h("div", { class: "picks" }, rows),
    h("div", { class: "actions end" }, go),
  ]);
  go.focus();
}

export function showWorklistKeys(): void {
  showKeySheet([
    [["↑", "↓"], "previous row, next row (also k and j)"],
    [["Home", "End"], "first row, last row"],
    [["Enter"], "open the selected slide, or the first in the list"],
    [["x"], "select or deselect the row"],
    [["g"], "score the slide"],
    [["/"], "search; Enter opens the first match"],
    [["?"], "this list of keys"],
  ]);
}

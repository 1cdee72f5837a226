import type { Model, Slide } from "../api/types";
import { pipelineTitle } from "../pure/format";
import { pipelineNames } from "../pure/worklist";
import { openDialog } from "../ui/dialog";
import { h } from "../ui/dom";
import { icon } from "../ui/icons";
import { showKeySheet } from "../ui/keysheet";
import { toast } from "../ui/notice";

/** Ask which pipelines shall score the slides. */
export function askPipelines(
  slides: readonly Slide[],
  models: readonly Model[],
  start: (pipelines: readonly string[]) => void,
): void {
  const pipelines = pipelineNames([], [...new Set(models.map((model) => model.pipeline))]);
  if (pipelines.length === 0) {
    toast("No model is installed, so nothing can be scored yet.", "error");
    return;
  }
  const boxes = pipelines.map((value) => h("input", { type: "checkbox", value, checked: true }));
  const rows = boxes.map((box) => {
    const newest = models.find((model) => model.pipeline === box.value);
    return h(
      "label",
      { class: "pick" },
      box,
      h(
        "span",
        {},
        h("strong", {}, pipelineTitle(box.value)),
        h("span", { class: "quiet" }, newest ? `${newest.name} · ${newest.architecture}` : ""),
      ),
    );
  });
  const go = h(
    "button",
    {
      class: "button primary",
      onclick: () => {
        dialog.close();
        start(boxes.filter((box) => box.checked).map((box) => box.value));
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
    [["Enter"], "open the slide"],
    [["x"], "select or unselect the row"],
    [["g"], "score the slide"],
    [["/"], "search; Enter opens the first match"],
    [["?"], "this sheet"],
  ]);
}

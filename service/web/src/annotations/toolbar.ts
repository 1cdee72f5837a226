import { h } from "../ui/dom";
import { drawing } from "../ui/icons";
import type { Annotator } from "./annotator";
import type { Tool } from "./draft";

const SHAPES: readonly (readonly [Tool, string, string, string])[] = [
  ["polygon", "Polygon", "a", "M4 8l6-4 6 5-3 7H6z"],
  ["freehand", "Freehand", "f", "M4 13c-1-5 3-9 6-8s1 4 4 4 3 5 0 6-9 2-10-2z"],
  ["rectangle", "Rectangle", "b", "M4 5.5h12v9H4z"],
  ["point", "Point", "i", "M10 17s5-5.2 5-9a5 5 0 0 0-10 0c0 3.8 5 9 5 9zM10 8v.1"],
  ["measure", "Length", "l", "M4 14L14 4M3 11.5l3.5 3.5M12.5 3L16 6.5M8 9l1.5 1.5"],
];

/** The tools to draw with. */
export function drawToolbar(annotator: Annotator, focusSlide: () => void): HTMLElement {
  return h(
    "div",
    { class: "toolbar", role: "toolbar", "aria-label": "Draw" },
    SHAPES.map(([tool, label, key, path]) =>
      h(
        "button",
        {
          type: "button",
          class: "icon-button",
          "aria-label": label,
          "aria-pressed": "false",
          "data-tool": tool,
          title: `${label} (${key})`,
          onclick: (event: Event) => {
            annotator.choose(annotator.tool === tool ? null : tool);
            // Pressed by a key: the arrows shall move the cross at once.
            if ((event as MouseEvent).detail === 0 && annotator.tool !== null) focusSlide();
          },
        },
        drawing(path),
      ),
    ),
  );
}

export function showTool(toolbar: HTMLElement, tool: Tool | null): void {
  for (const button of toolbar.querySelectorAll<HTMLElement>("[data-tool]")) {
    button.setAttribute("aria-pressed", String(button.dataset["tool"] === tool));
  }
}

import { MAGNIFICATION_KEYS } from "../pure/scale";
import { h } from "../ui/dom";
import { type IconName, icon } from "../ui/icons";
import type { SlidePane } from "./pane";

/** Real buttons for what the mouse and the keys do. */
export function viewerToolbar(pane: () => SlidePane | undefined): HTMLElement {
  const button = (label: string, key: string, name: IconName, act: (p: SlidePane) => void) =>
    h(
      "button",
      {
        class: "icon-button",
        "aria-label": label,
        title: `${label} (${key})`,
        onclick: () => {
          const target = pane();
          if (target) act(target);
        },
      },
      icon(name),
    );
  return h(
    "div",
    { class: "toolbar", role: "toolbar", "aria-label": "View" },
    button("Zoom in", "+", "plus", (p) => p.zoomBy(1.5)),
    button("Zoom out", "-", "minus", (p) => p.zoomBy(1 / 1.5)),
    button("Whole slide", "0", "fit", (p) => p.fit()),
    button("Turn left", "Shift r", "rotateLeft", (p) => p.rotateBy(-90)),
    button("Turn right", "r", "rotateRight", (p) => p.rotateBy(90)),
    h("span", { class: "toolbar-gap" }),
    Object.entries(MAGNIFICATION_KEYS).map(([key, power]) =>
      h(
        "button",
        {
          class: "power-button",
          "aria-label": `${power} times magnification`,
          title: `${power}× (${key})`,
          onclick: () => pane()?.setMagnification(power),
        },
        `${power}×`,
      ),
    ),
  );
}

import "./toolbar.css";
import { digitalText, digitalZoom } from "../pure/resolution";
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
    button("Rotate left", "Shift r", "rotateLeft", (p) => p.rotateBy(-90)),
    button("Rotate right", "r", "rotateRight", (p) => p.rotateBy(90)),
    h("span", { class: "toolbar-gap" }),
    Object.entries(MAGNIFICATION_KEYS).map(([key, power]) =>
      h(
        "button",
        {
          class: "power-button",
          "data-power": power,
          "data-key": key,
          "aria-label": `${power} times magnification`,
          title: `${power}× (${key})`,
          onclick: () => pane()?.setMagnification(power),
        },
        `${power}×`,
      ),
    ),
  );
}

/** Grey without a known power; beyond the file's own, the pixels are only enlarged. */
export function showPowers(toolbar: HTMLElement, base: number | null): void {
  for (const button of toolbar.querySelectorAll<HTMLButtonElement>("[data-power]")) {
    const power = Number(button.dataset["power"]);
    const digital = base === null ? null : digitalZoom(power, base);
    button.disabled = base === null;
    button.classList.toggle("digital", digital !== null);
    const key = button.dataset["key"] ?? "";
    const more = digital === null ? "" : ` ${digitalText(digital)}`;
    button.title = base === null ? "Resolution unknown" : `${power}×${more} (${key})`;
    const label = `${power} times magnification`;
    button.setAttribute("aria-label", digital === null ? label : `${label}, enlarged`);
  }
}

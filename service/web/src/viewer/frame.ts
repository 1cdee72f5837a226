import "./frame.css";
import type { Slide } from "../api/types";
import { mppText, pixels } from "../pure/format";
import { statedText } from "../pure/resolution";
import { neighbours } from "../sequence";
import { h } from "../ui/dom";
import { type IconName, icon } from "../ui/icons";
import { showKeyHelp } from "./keys";
import type { Mode } from "./state";

/** The page around the views: bar, panel, status. */

export interface FrameParts {
  readonly slide: Slide;
  readonly stage: HTMLElement;
  readonly toolbar: HTMLElement;
  readonly results: HTMLElement;
  readonly heatmap: HTMLElement;
  readonly tissue: HTMLElement;
  readonly presence: HTMLElement;
  readonly hotspots: HTMLElement;
  readonly annotations: HTMLElement;
  readonly review: HTMLElement;
  readonly reading: HTMLElement;
  /** What was not saved, over the slide. */
  readonly notices: readonly HTMLElement[];
  readonly giveMpp: () => void;
  readonly toggleMode: (mode: Mode) => void;
}

export class Frame {
  readonly element: HTMLElement;
  readonly #parts: FrameParts;
  readonly #modeButtons = new Map<Mode, HTMLButtonElement>();
  #facts: HTMLElement;

  constructor(parts: FrameParts) {
    this.#parts = parts;
    this.#facts = slideFacts(parts.slide, parts.giveMpp);
    const section = (title: string, content: Node, more = "") =>
      h("section", { class: `panel-section ${more}` }, h("h2", {}, title), content);
    this.element = h(
      "div",
      { class: "viewer-page loading" },
      this.#topbar(),
      h(
        "main",
        { class: "stage-box" },
        parts.stage,
        parts.toolbar,
        h("div", { class: "refusals" }, parts.notices),
      ),
      h(
        "aside",
        { class: "panel", "aria-label": "Results and heatmaps", tabindex: "-1" },
        section("Result", parts.results),
        section("Heatmap", parts.heatmap, "of-model"),
        section("Tissue and quality", parts.tissue),
        section("Hotspots", parts.hotspots, "of-model"),
        section("Annotations", parts.annotations),
        section("Review", parts.review),
      ),
      h(
        "footer",
        { class: "statusbar" },
        h("span", {}, "Research use only – not a medical device."),
        parts.reading,
      ),
    );
  }

  showSlide(slide: Slide): void {
    const facts = slideFacts(slide, this.#parts.giveMpp);
    this.#facts.replaceWith(facts);
    this.#facts = facts;
  }

  showMode(mode: Mode): void {
    for (const [name, button] of this.#modeButtons) {
      button.setAttribute("aria-pressed", name === mode ? "true" : "false");
    }
  }

  /** All is there: the panel appears at once and nothing in it jumps. */
  showReady(): void {
    this.element.classList.remove("loading");
  }

  showBlind(on: boolean): void {
    this.element.classList.toggle("blind", on);
  }

  #topbar(): HTMLElement {
    const { slide } = this.#parts;
    return h(
      "header",
      { class: "topbar" },
      h(
        "a",
        { class: "icon-button", href: "#/", "aria-label": "Back to the worklist" },
        icon("back"),
      ),
      h("div", { class: "slide-title" }, h("h1", {}, slide.name), this.#facts),
      h(
        "div",
        { class: "topbar-actions" },
        this.#parts.presence,
        worklistSteps(slide.id),
        this.#modeButton("side", "Side by side", "s", "split"),
        this.#modeButton("swipe", "Swipe", "d", "swipe"),
        h(
          "a",
          {
            class: "icon-button",
            href: `#/slides/${slide.id}/report`,
            "aria-label": "Print report",
            title: "Print report",
          },
          icon("print"),
        ),
        h(
          "button",
          {
            class: "icon-button",
            "aria-label": "Keyboard help",
            title: "Keyboard help (?)",
            onclick: showKeyHelp,
          },
          icon("help"),
        ),
      ),
    );
  }

  #modeButton(mode: Mode, label: string, key: string, name: IconName): HTMLElement {
    const button = h(
      "button",
      {
        class: "button",
        "aria-pressed": "false",
        "aria-label": label,
        title: `${label} (${key})`,
        onclick: () => this.#parts.toggleMode(mode),
      },
      icon(name, 16),
      h("span", { class: "wide-only" }, label),
    );
    this.#modeButtons.set(mode, button);
    return button;
  }
}

/** The slide's place in the worklist, and the way to its neighbours. */
function worklistSteps(slideId: string): HTMLElement | null {
  const around = neighbours(slideId);
  if (!around) return null;
  const step = (id: string | null, label: string, key: string, name: IconName) =>
    id === null
      ? h("span", { class: "icon-button", "aria-hidden": "true" })
      : h(
          "a",
          {
            class: "icon-button",
            href: `#/slides/${id}`,
            "aria-label": label,
            title: `${label} (${key})`,
          },
          icon(name),
        );
  return h(
    "nav",
    { class: "steps", "aria-label": "Worklist" },
    step(around.previous, "Previous slide", "Shift p", "back"),
    h("span", { class: "quiet" }, `${around.place} of ${around.count}`),
    step(around.next, "Next slide", "Shift n", "next"),
  );
}

function slideFacts(slide: Slide, giveMpp: () => void): HTMLElement {
  return h(
    "p",
    { class: "slide-facts" },
    h("span", {}, `${pixels(slide.width, slide.height)} px`),
    h(
      "button",
      {
        class: slide.mpp === null ? "link warn" : "link",
        title: statedText(slide),
        onclick: giveMpp,
      },
      slide.mpp === null ? "Enter resolution" : mppText(slide.mpp),
    ),
    h("span", {}, slide.vendor),
  );
}

import "./controls.css";
import type { SlideResult } from "../api/types";
import { COLOUR_MAPS, cssGradient, isColourMap } from "../pure/colourmaps";
import { ago, coarsePercent, kindTitle, pipelineTitle } from "../pure/format";
import { mapNames, mapTitle } from "../pure/suspicion";
import { fill, h, setText } from "../ui/dom";
import { fitChoice, type LayerChoice } from "./choice";
import { newestResults, threshold, type ViewerState } from "./state";
import { tissueLegend } from "./tissue";

/** The heatmap's knobs. Colours, threshold and opacity act at once, without asking the service. */

export interface ControlActions {
  /** A knob of colour, threshold, opacity or outlines was turned. */
  readonly repaint: () => void;
  /** The active view shall show this. */
  readonly choose: (choice: LayerChoice | null) => void;
  /** The active view shall show this result. */
  readonly chooseResult: (jobId: string) => void;
  readonly setOverlay: (on: boolean) => void;
  readonly setTissue: (on: boolean) => void;
  readonly setActive: (view: 0 | 1) => void;
}

export class HeatControls {
  readonly element = h("div", { class: "heat-controls" });
  readonly #state: ViewerState;
  readonly #actions: ControlActions;
  readonly #layer = h("div", { class: "layer-controls" });
  readonly #toggle: HTMLInputElement;
  readonly #legend = new Legend();
  #shownLayers = "";
  readonly #tissueToggle: HTMLInputElement;
  readonly #tissueLegend = h("ul", { class: "tissue-legend", "aria-label": "Tissue and quality" });
  readonly #threshold: HTMLInputElement;
  readonly #thresholdText = h("output", { for: "threshold" });
  /** Hotspots start at the model's own threshold, whatever the heatmap is set to. */
  readonly #model: HTMLButtonElement;
  readonly #opacityText = h("output", { for: "opacity" });

  constructor(state: ViewerState, actions: ControlActions) {
    this.#state = state;
    this.#actions = actions;
    const { settings } = state;
    this.#model = h(
      "button",
      {
        type: "button",
        class: "link operating-point",
        onclick: () => {
          settings.threshold = null;
          this.show();
          actions.repaint();
        },
      },
      "",
    );
    this.#toggle = h("input", {
      type: "checkbox",
      role: "switch",
      id: "overlay-toggle",
      onchange: () => actions.setOverlay(this.#toggle.checked),
    });
    this.#tissueToggle = h("input", {
      type: "checkbox",
      role: "switch",
      id: "tissue-toggle",
      onchange: () => actions.setTissue(this.#tissueToggle.checked),
    });
    this.#threshold = this.#slider("threshold", threshold(state).now, (value) => {
      settings.threshold = value;
    });
    const opacity = this.#slider("opacity", settings.opacity, (value) => {
      settings.opacity = value;
    });
    fill(
      this.element,
      h(
        "div",
        { class: "row" },
        h("label", { class: "switch", for: "overlay-toggle" }, this.#toggle, "Show heatmap"),
        h("span", { class: "keys" }, h("kbd", {}, "o"), " · hold ", h("kbd", {}, "h"), " hides"),
      ),
      this.#layer,
      this.#legend.element,
      sliderRow("threshold", "Threshold", this.#threshold, this.#thresholdText),
      this.#model,
      sliderRow("opacity", "Opacity", opacity, this.#opacityText),
      h("div", { class: "row wrap" }, this.#mapSelect(), this.#flags()),
    );
    this.show();
  }

  /** The outlines of tissue and of quality problems: a switch, and what their colours mean. */
  tissueControls(): HTMLElement {
    return h(
      "div",
      { class: "tissue-controls" },
      h(
        "div",
        { class: "row" },
        h("label", { class: "switch", for: "tissue-toggle" }, this.#tissueToggle, "Show tissue"),
        h("span", { class: "keys" }, h("kbd", {}, "q")),
      ),
      this.#tissueLegend,
    );
  }

  /** Bring every control in line with the state. */
  show(): void {
    const { settings } = this.#state;
    this.#tissueToggle.checked = settings.tissue;
    fill(this.#tissueLegend, tissueLegend(this.#state.tissue));
    this.#toggle.checked = this.#state.overlay;
    this.#threshold.value = String(threshold(this.#state).now);
    this.#showThreshold();
    this.#legend.showReadable(this.#state.results.size > 0, this.#state.overlay);
    this.#showLayerControls();
  }

  showValue(value: number | null): void {
    this.#legend.showValue(value);
  }

  #slider(id: string, value: number, set: (value: number) => void): HTMLInputElement {
    const slider = h("input", { type: "range", id, min: 0, max: 1, step: 0.01, value });
    slider.addEventListener("input", () => {
      set(Number(slider.value));
      this.#paint();
    });
    return slider;
  }

  #paint(): void {
    this.#showThreshold();
    this.#actions.repaint();
  }

  #showThreshold(): void {
    const { settings } = this.#state;
    const { now, model } = threshold(this.#state);
    setText(this.#thresholdText, now.toFixed(2));
    setText(this.#opacityText, settings.opacity.toFixed(2));
    setText(this.#model, `Hotspots start at ${model.toFixed(2)}: use this threshold`);
    this.#model.hidden = now === model || this.#state.results.size === 0;
    this.#legend.show(settings, now, model);
  }

  #mapSelect(): HTMLElement {
    const { settings } = this.#state;
    const select = h(
      "select",
      {
        id: "colour-map",
        onchange: () => {
          if (isColourMap(select.value)) settings.colourMap = select.value;
          this.#paint();
        },
      },
      COLOUR_MAPS.map((name) =>
        h("option", { value: name, selected: name === settings.colourMap }, name),
      ),
    );
    return h("label", { class: "inline" }, "Colours", select);
  }

  #flags(): HTMLElement[] {
    const { settings } = this.#state;
    const flag = (label: string, get: () => boolean, set: (on: boolean) => void) => {
      const box = h("input", {
        type: "checkbox",
        checked: get(),
        onchange: () => {
          set(box.checked);
          this.#paint();
        },
      });
      return h("label", { class: "inline" }, box, label);
    };
    return [
      flag(
        "Smooth",
        () => settings.smooth,
        (on) => {
          settings.smooth = on;
        },
      ),
      flag(
        "Outlines",
        () => settings.outlines,
        (on) => {
          settings.outlines = on;
        },
      ),
      flag(
        "Show heatmap by default",
        () => settings.overlayAtOpen,
        (on) => {
          settings.overlayAtOpen = on;
        },
      ),
    ];
  }

  #showLayerControls(): void {
    const { results, finished, choices, active, mode } = this.#state;
    if (results.size === 0) {
      this.#shownLayers = "";
      fill(this.#layer);
      return;
    }
    const choice = choices[active];
    const result = choice ? results.get(choice.jobId) : undefined;
    const shown = JSON.stringify([
      [...results.keys()],
      finished.map(({ id }) => id),
      choices,
      active,
      mode,
    ]);
    // A button that is replaced between press and release loses the click.
    if (shown === this.#shownLayers) return;
    this.#shownLayers = shown;
    const rows: HTMLElement[] = [];
    if (mode !== "single") {
      rows.push(
        segments("View", [
          ["Left", active === 0, () => this.#actions.setActive(0)],
          ["Right", active === 1, () => this.#actions.setActive(1)],
        ]),
      );
    }
    rows.push(
      segments("Pipeline", [
        ...newestResults(this.#state).map(
          (r) =>
            [
              pipelineTitle(r.pipeline),
              choice?.pipeline === r.pipeline,
              () => this.#actions.choose(fitChoice(r, choice)),
            ] as const,
        ),
        ...(mode === "single"
          ? []
          : [["Slide only", choice === null, () => this.#actions.choose(null)] as const]),
      ]),
    );
    if (choice && result) {
      rows.push(...this.#modelSelect(choice), ...this.#kindAndClass(choice, result));
    }
    const focused = this.#layer.contains(document.activeElement)
      ? document.activeElement?.getAttribute("data-key")
      : null;
    fill(this.#layer, rows);
    if (focused) {
      for (const button of this.#layer.querySelectorAll<HTMLElement>("[data-key]")) {
        if (button.dataset["key"] === focused) button.focus();
      }
    }
  }

  /** Where a pipeline has several results of this slide: by which model, of when. */
  #modelSelect(choice: LayerChoice): HTMLElement[] {
    const jobs = this.#state.finished.filter((job) => job.pipeline === choice.pipeline);
    if (jobs.length < 2) return [];
    const select = h(
      "select",
      {
        id: "result-model",
        "data-key": "Model",
        onchange: () => this.#actions.chooseResult(select.value),
      },
      jobs.map((job) =>
        h(
          "option",
          { value: job.id, selected: job.id === choice.jobId },
          `${job.model} · ${ago(job.finished_at ?? job.created_at, Date.now())}`,
        ),
      ),
    );
    const label = h("label", { class: "segment-label", for: "result-model" }, "Model");
    return [h("div", { class: "segment-row" }, label, select)];
  }

  #kindAndClass(choice: LayerChoice, result: SlideResult): HTMLElement[] {
    return [
      segments(
        "Map",
        result.layers.map(
          (kind) =>
            [
              kindTitle(kind),
              kind === choice.kind,
              () => this.#actions.choose(fitChoice(result, { ...choice, kind })),
            ] as const,
        ),
      ),
      segments(
        "Class",
        mapNames(result, choice.kind).map(
          (className) =>
            [
              mapTitle(className),
              className === choice.className,
              () => this.#actions.choose({ ...choice, className }),
            ] as const,
        ),
      ),
    ];
  }
}

const POINT = "Hover over the slide to read a value";
const NOTHING = "The heatmap appears once the slide is scored";

/** A colour bar with values: what is hidden by the threshold is crossed out. */
class Legend {
  readonly #cut = h("div", { class: "legend-cut" });
  readonly #marker = h("div", { class: "legend-marker", hidden: true });
  readonly #point = h("div", { class: "legend-point" });
  readonly #bar = h("div", { class: "legend-bar" }, this.#cut, this.#marker, this.#point);
  readonly #value = h("span", { class: "legend-value" });
  #readable = false;
  readonly element = h(
    "div",
    { class: "legend", role: "group", "aria-label": "Heatmap legend" },
    this.#bar,
    h(
      "div",
      { class: "legend-ticks", "aria-hidden": "true" },
      [0, 0.25, 0.5, 0.75, 1].map((v) => h("span", {}, String(v))),
    ),
    this.#value,
  );

  show(settings: ViewerState["settings"], threshold: number, operatingPoint: number): void {
    this.#bar.style.backgroundImage = cssGradient(settings.colourMap);
    this.#cut.style.width = `${threshold * 100}%`;
    this.#point.style.left = `${operatingPoint * 100}%`;
    this.#point.title = `Hotspots start at ${operatingPoint.toFixed(2)}`;
  }

  /** What there is to read, until the pointer is over the slide. */
  showReadable(scored: boolean, shown: boolean): void {
    const text = scored ? (shown ? POINT : "Show the heatmap to read scores") : NOTHING;
    if (this.#readable && scored && shown) return;
    this.#readable = scored && shown;
    this.#marker.hidden = true;
    setText(this.#value, text);
  }

  showValue(value: number | null): void {
    if (!this.#readable) return;
    this.#marker.hidden = value === null;
    if (value !== null) this.#marker.style.left = `${value * 100}%`;
    setText(
      this.#value,
      value === null ? "No value at the pointer" : `At the pointer: ${coarsePercent(value)}`,
    );
  }
}

function sliderRow(
  id: string,
  label: string,
  slider: HTMLInputElement,
  output: HTMLOutputElement,
): HTMLElement {
  return h("div", { class: "slider-row" }, h("label", { for: id }, label), slider, output);
}

/** Letters that fit beside each other. */
const LINE = 32;

type Segment = readonly [label: string, on: boolean, choose: () => void];

function segments(label: string, options: readonly Segment[]): HTMLElement {
  // Class names are told apart by their ends as often as by their beginnings.
  const isLong = options.reduce((sum, [text]) => sum + text.length + 2, 0) > LINE;
  return h(
    "div",
    { class: "segment-row" },
    h("span", { class: "segment-label" }, label),
    h(
      "div",
      { class: isLong ? "segments wrap" : "segments", role: "group", "aria-label": label },
      options.map(([text, on, choose]) =>
        h(
          "button",
          {
            type: "button",
            "aria-pressed": on ? "true" : "false",
            "data-key": `${label}/${text}`,
            onclick: choose,
          },
          text,
        ),
      ),
    ),
  );
}

import "./stage.css";
import { ApiError } from "../api/client";
import type { Hotspot, Slide } from "../api/types";
import { kindTitle, pipelineTitle } from "../pure/format";
import { mapTitle } from "../pure/suspicion";
import { h } from "../ui/dom";
import type { LayerChoice } from "./choice";
import { HeatmapCache } from "./layers";
import type { CurrentHotspot } from "./overlay";
import { type PointerReading, SlidePane } from "./pane";
import { drawnResult, hotspotResult, listedView, type Mode, type ViewerState } from "./state";
import { SwipeHandle } from "./swipe";

export interface StageEvents {
  /** The reader works in this view now. */
  readonly active: (view: 0 | 1) => void;
  readonly pointer: (reading: PointerReading | null) => void;
  readonly opened: (pane: SlidePane) => void;
}

/** The views of the slide: one, two locked ones, or one with a divider; and what each draws. */
export class Stage {
  readonly element = h("div", { class: "stage" });
  readonly #state: ViewerState;
  readonly #events: StageEvents;
  readonly #heatmaps: HeatmapCache;
  readonly #panes: SlidePane[] = [];
  readonly #swipe: SwipeHandle;
  #leader = 0;

  constructor(state: ViewerState, events: StageEvents) {
    this.#state = state;
    this.#events = events;
    this.#heatmaps = new HeatmapCache(state.settings);
    this.#swipe = new SwipeHandle((share) => {
      const pane = this.#panes[0];
      if (!pane) return;
      pane.content.divider = share;
      pane.redraw();
    });
  }

  /** Once the element is in the page. */
  open(): void {
    this.#addPane(`Slide ${this.#state.slide.name}`);
  }

  destroy(): void {
    for (const pane of this.#panes.splice(0)) pane.destroy();
  }

  /** The view that keys and buttons move. */
  get pane(): SlidePane | undefined {
    return this.#panes[this.#leader] ?? this.#panes[0];
  }

  /** Its resolution was changed. */
  setSlide(slide: Slide): void {
    for (const pane of this.#panes) pane.setSlide(slide);
  }

  setMode(mode: Mode): void {
    this.#leader = 0;
    const wasTwo = this.#panes.length === 2;
    const refit = this.#panes[0]?.keepInSight();
    this.element.classList.toggle("two", mode === "side");
    if (mode === "side" && this.#panes.length === 1) this.#addPane("Second view, locked");
    if (mode !== "side") for (const pane of this.#panes.splice(1)) pane.destroy();
    const first = this.#panes[0];
    if (!first) return;
    first.content.divider = mode === "swipe" ? 0.5 : null;
    if (mode === "swipe") this.#swipe.attach(first.element);
    else this.#swipe.detach();
    // The view has another width now; what was in sight stays so.
    if (wasTwo === (mode === "side")) return;
    // OpenSeadragon moves the view itself once more after it has said so.
    first.viewer.addOnceHandler("after-resize", () => queueMicrotask(() => refit?.()));
  }

  showHotspot(spot: Hotspot): void {
    this.#leader = 0;
    this.#panes[0]?.showHotspot(spot);
  }

  /** A choice was made: say so where its heatmap cannot be had. */
  async check(view: 0 | 1): Promise<void> {
    const choice = this.#state.choices[view];
    const result = choice && this.#state.results.get(choice.jobId);
    const pane = this.#panes[this.#state.mode === "side" ? view : 0];
    if (!choice || !result) return;
    let notice: string | null = null;
    try {
      await this.#heatmaps.get(result, choice);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      notice = `Could not load the heatmap “${this.#title(choice)}”: ${error.message}`;
    }
    // A slow answer to an earlier choice must not speak over the present one.
    if (this.#state.choices[view] !== choice) return;
    pane?.notify(notice);
    await this.fill();
  }

  /** Give each view the layers that it shall draw. */
  async fill(): Promise<void> {
    const asked = [...this.#state.choices];
    const [left, right] = await Promise.all(asked.map((c) => this.#layer(c)));
    const { mode, choices } = this.#state;
    if (asked.some((choice, view) => choice !== choices[view])) return;
    const [first, second] = this.#panes;
    if (first) {
      first.content.left = left ?? null;
      first.content.right = mode === "swipe" ? (right ?? null) : null;
      first.setTitle(mode === "side" ? this.#title(choices[0]) : null);
    }
    if (second) {
      second.content.left = right ?? null;
      second.setTitle(this.#title(choices[1]));
    }
    this.#swipe.setTitles(this.#title(choices[0]), this.#title(choices[1]));
    this.redraw();
  }

  /** Colour again with the settings of now. */
  recolour(): void {
    this.#heatmaps.recolour();
    this.redraw();
  }

  redraw(): void {
    const { overlay, held, hidden, settings, mode } = this.#state;
    const spots = ([0, 1] as const).map((view) => drawnResult(this.#state, view)?.hotspots ?? []);
    const [left = [], right = []] = spots;
    this.#panes.forEach((pane, view) => {
      pane.content.visible = overlay && !held && !hidden;
      pane.content.outlines = settings.outlines;
      // Each view its own model's; with a divider one view has both.
      pane.content.hotspots = [view === 0 ? left : right, mode === "swipe" ? right : []];
      const isListed = mode !== "side" || view === listedView(this.#state);
      pane.content.current = isListed && !held && !hidden ? this.#current() : null;
      pane.content.tissue = settings.tissue ? this.#state.tissue : [];
      pane.redraw();
    });
  }

  #current(): CurrentHotspot | null {
    const index = this.#state.hotspot;
    const spot = index === null ? undefined : hotspotResult(this.#state)?.hotspots[index];
    return index !== null && spot ? { spot, index } : null;
  }

  async #layer(choice: LayerChoice | null) {
    const result = choice && this.#state.results.get(choice.jobId);
    // Not even under the pointer while the reader is blind.
    if (this.#state.hidden) return null;
    if (!choice || !result || result.outcome === "no_tissue") return null;
    try {
      return await this.#heatmaps.get(result, choice);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return null; // `check` told the reader when it was chosen.
    }
  }

  #title(choice: LayerChoice | null): string {
    if (!choice || this.#state.hidden) return "Slide only";
    const { choices, results } = this.#state;
    const twoModels =
      choices[0]?.pipeline === choices[1]?.pipeline && choices[0]?.jobId !== choices[1]?.jobId;
    const model = twoModels ? ` · ${results.get(choice.jobId)?.model}` : "";
    return `${pipelineTitle(choice.pipeline)}${model} · ${kindTitle(choice.kind)} · ${mapTitle(choice.className)}`;
  }

  #addPane(name: string): void {
    const index = this.#panes.length;
    const pane = new SlidePane(this.element, this.#state.slide, this.#state.settings, name);
    this.#panes.push(pane);
    pane.onMove = () => {
      if (this.#leader !== index) return;
      for (const other of this.#panes) if (other !== pane) other.follow(pane);
    };
    pane.onActive = () => {
      this.#leader = index;
      if (this.#state.mode === "side") this.#events.active(index === 1 ? 1 : 0);
    };
    pane.onPointer = (reading) => this.#events.pointer(reading);
    pane.onFailure = (text) => pane.notify(text);
    pane.viewer.addOnceHandler("open", () => {
      const leader = this.#panes[this.#leader];
      if (leader && leader !== pane) pane.follow(leader);
    });
    this.#events.opened(pane);
  }
}

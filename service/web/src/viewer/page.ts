import { ApiError, getLayout, getSlide, isAway, listModels, pause } from "../api/client";
import type { Model, Slide } from "../api/types";
import type { Place } from "../place";
import type { TileLayout } from "../pure/dzi";
import { type Decision, decisionOf, spotKey } from "../pure/review";
import { pipelineNames } from "../pure/worklist";
import { loadSettings, saveSettings } from "../settings";
import { fill, h, perFrame, setText } from "../ui/dom";
import { stateCard, toast } from "../ui/notice";
import { firstChoice, type LayerChoice } from "./choice";
import { HeatControls } from "./controls";
import { Frame } from "./frame";
import { HotspotList } from "./hotspots";
import { SlideJobs } from "./jobs";
import { listenKeys } from "./keys";
import { showLoadError } from "./loaderror";
import type { PointerReading } from "./pane";
import { showResults } from "./results";
import { ReviewPanel } from "./reviewpanel";
import { ReviewStore } from "./reviewstore";
import { Stage } from "./stage";
import { hotspotResult, type Mode, type ViewerState } from "./state";
import { viewerToolbar } from "./toolbar";

/** The review of one slide. */
export function showViewer(root: Element, slideId: string): Place {
  const stop = new AbortController();
  let page: ViewerPage | null = null;
  const load = async () => {
    fill(root, stateCard("Opening the slide…", ""));
    try {
      const slide = await getSlide(slideId);
      if (stop.signal.aborted) return;
      page = new ViewerPage(root, slide, stop.signal);
      await page.begin();
    } catch (error) {
      if (stop.signal.aborted) return;
      page?.destroy();
      page = null;
      showLoadError(root, error, load);
      if (isAway(error)) {
        await pause(4000, stop.signal);
        if (!stop.signal.aborted) void load();
      }
    }
  };
  void load();
  return {
    leave: () => {
      stop.abort();
      page?.destroy();
      document.title = "wholeslide";
    },
  };
}

class ViewerPage {
  readonly #root: Element;
  readonly #stop = new AbortController();
  readonly #state: ViewerState;
  readonly #jobs: SlideJobs;
  readonly #stage: Stage;
  readonly #frame: Frame;
  readonly #results = h("div", { class: "results" });
  readonly #reading = h("span", { class: "reading" });
  readonly #hotspots: HotspotList;
  readonly #controls: HeatControls;
  readonly #review: ReviewStore;
  readonly #reviewPanel: ReviewPanel;
  #models: readonly Model[] = [];
  #layout: TileLayout | null = null;
  /** The reader asked to see the model before deciding. */
  #revealed = false;
  /** Whether the reader chose a layer: what arrives later must not take it away. */
  #touched = false;

  constructor(root: Element, slide: Slide, signal: AbortSignal) {
    this.#root = root;
    signal.addEventListener("abort", () => this.#stop.abort());
    this.#state = firstState(slide);
    this.#jobs = new SlideJobs(this.#state, this.#stop.signal, {
      moved: () => this.#showResults(),
      result: () => this.#takeResult(),
      mpp: (mpp) => {
        this.#frame.showSlide(this.#state.slide);
        this.#stage.setMpp(mpp);
      },
    });
    this.#stage = new Stage(this.#state, {
      active: (view) => this.#setActive(view),
      pointer: (reading) => this.#showReading(reading),
    });
    this.#hotspots = new HotspotList(
      (index) => this.#goToHotspot(index),
      (index, decision) => this.#decide(index, decision),
    );
    this.#controls = this.#makeControls();
    this.#review = new ReviewStore(slide.id, this.#stop.signal);
    this.#review.onChange = () => this.#showReview();
    this.#reviewPanel = this.#makeReviewPanel();
    this.#frame = new Frame({
      slide,
      stage: this.#stage.element,
      toolbar: viewerToolbar(() => this.#stage.pane),
      results: this.#results,
      heatmap: this.#controls.element,
      hotspots: this.#hotspots.element,
      review: this.#reviewPanel.element,
      reading: this.#reading,
      giveMpp: () => void this.#jobs.giveMpp(""),
      toggleMode: (mode) => this.#toggleMode(mode),
    });
  }

  async begin(): Promise<void> {
    document.title = `${this.#state.slide.name} · wholeslide`;
    fill(this.#root, this.#frame.element);
    this.#stage.open();
    // A blind reader must not see the model's answer for a moment before it is hidden.
    this.#showReview();
    this.#showAll();
    this.#listenKeys();
    void this.#review.run();
    await Promise.all([this.#loadModels(), this.#jobs.load(), this.#loadLayout()]);
  }

  destroy(): void {
    this.#stop.abort();
    this.#stage.destroy();
  }

  // --- parts --------------------------------------------------------------------------------

  #makeControls(): HeatControls {
    return new HeatControls(this.#state, {
      repaint: perFrame(() => {
        saveSettings(this.#state.settings);
        this.#stage.recolour();
      }),
      choose: (choice) => {
        this.#touched = true;
        void this.#choose(this.#state.active, choice);
      },
      setOverlay: (on) => this.#setOverlay(on),
      setActive: (view) => this.#setActive(view),
    });
  }

  #makeReviewPanel(): ReviewPanel {
    const { settings } = this.#state;
    return new ReviewPanel({
      store: this.#review,
      results: () => this.#state.results.values(),
      classes: () => this.#classes(),
      isHidden: () => this.#state.hidden,
      blind: () => settings.blind,
      setBlind: (on) => {
        settings.blind = on;
        saveSettings(settings);
        this.#revealed = false;
        this.#showReview();
      },
    });
  }

  // --- data ---------------------------------------------------------------------------------

  async #loadModels(): Promise<void> {
    try {
      const models = await listModels();
      this.#models = models;
      this.#state.modelled = new Set(models.map((model) => model.pipeline));
      this.#state.pipelines = pipelineNames([this.#state.slide], [...this.#state.modelled]);
      this.#showResults();
      this.#reviewPanel.show();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(`The list of models did not come: ${error.message}`, "error");
    }
  }

  async #loadLayout(): Promise<void> {
    try {
      this.#layout = await getLayout(this.#state.slide.id);
      this.#showHotspots();
    } catch (error) {
      // The viewer itself says so where there are no tiles.
      if (!(error instanceof ApiError)) throw error;
    }
  }

  async #takeResult(): Promise<void> {
    const [first, second] = [...this.#state.results.values()];
    const { choices } = this.#state;
    if (first && (!choices[0] || choices[0].pipeline === second?.pipeline) && !this.#touched) {
      await this.#choose(0, firstChoice(first));
    }
    if (second && !choices[1]) await this.#choose(1, firstChoice(second));
    this.#showAll();
    this.#reviewPanel.show();
  }

  // --- what is shown ------------------------------------------------------------------------

  async #choose(view: 0 | 1, choice: LayerChoice | null): Promise<void> {
    const listed = hotspotResult(this.#state)?.job_id;
    this.#state.choices[view] = choice;
    // Another list of hotspots begins anew; the same one keeps the reader's place.
    if (hotspotResult(this.#state)?.job_id !== listed) this.#state.hotspot = null;
    this.#showAll();
    await this.#stage.check(view);
  }

  #showAll(): void {
    this.#showResults();
    this.#controls.show();
    this.#showHotspots();
    void this.#stage.fill();
  }

  #showResults(): void {
    showResults(this.#results, this.#state, {
      start: (pipeline) => void this.#jobs.start(pipeline),
      cancel: (job) => void this.#jobs.cancel(job),
      reveal: () => {
        this.#revealed = true;
        this.#showReview();
      },
    });
  }

  /** Bring the page in line with the review: its decisions, and whether the model may be seen. */
  #showReview(): void {
    const review = this.#review.current;
    const hidden = this.#state.settings.blind && !this.#revealed && review.diagnosis === null;
    if (hidden !== this.#state.hidden) {
      this.#state.hidden = hidden;
      this.#state.hotspot = null;
      this.#frame.showBlind(hidden);
      this.#showAll();
    }
    this.#reviewPanel.show();
    this.#showDecisions();
  }

  #showDecisions(): void {
    const review = this.#review.current;
    this.#hotspots.showDecisions(
      (jobId, index) => decisionOf(review, jobId, index),
      this.#review.saved.status === "signed",
    );
  }

  #classes(): readonly string[] {
    const scored = [...this.#state.results.values()].flatMap((result) => result.classes);
    const known = scored.length > 0 ? scored : this.#models.flatMap((model) => model.classes);
    return [...new Set(known)];
  }

  /** Agree, disagree, unsure; the same again takes it back. */
  #decide(index: number, decision: Decision): void {
    const result = hotspotResult(this.#state);
    if (!result) return;
    if (this.#review.saved.status === "signed") {
      toast("This review is signed. Amend it to change the diagnosis.");
      return;
    }
    const before = decisionOf(this.#review.current, result.job_id, index);
    const now = before === decision ? null : decision;
    this.#review.change({ hotspots: { [spotKey(result.job_id, index)]: now } });
  }

  #showHotspots(): void {
    this.#hotspots.show(hotspotResult(this.#state), this.#state.hotspot, this.#layout);
    this.#showDecisions();
  }

  #showReading(reading: PointerReading | null): void {
    this.#controls.showValue(reading?.value ?? null);
    const { width, height } = this.#state.slide;
    const inside =
      reading && reading.x >= 0 && reading.y >= 0 && reading.x < width && reading.y < height;
    const text = inside ? `x ${Math.round(reading.x)}, y ${Math.round(reading.y)} px` : "";
    const value = reading && reading.value !== null ? ` · value ${reading.value.toFixed(3)}` : "";
    setText(this.#reading, text + value);
  }

  // --- doing --------------------------------------------------------------------------------

  #setOverlay(on: boolean): void {
    this.#state.overlay = on;
    this.#controls.show();
    this.#stage.redraw();
  }

  #setHeld(held: boolean): void {
    if (this.#state.held === held) return;
    this.#state.held = held;
    this.#stage.redraw();
  }

  #setActive(view: 0 | 1): void {
    if (this.#state.active === view) return;
    this.#state.active = view;
    this.#state.hotspot = null;
    this.#controls.show();
    this.#showHotspots();
    this.#stage.redraw();
  }

  #toggleMode(mode: Mode): void {
    this.#setMode(this.#state.mode === mode ? "single" : mode);
  }

  #setMode(mode: Mode): void {
    this.#state.mode = mode;
    this.#state.active = 0;
    if (mode !== "single") this.#state.overlay = true;
    this.#frame.showMode(mode);
    this.#stage.setMode(mode);
    this.#showAll();
  }

  #goToHotspot(index: number): void {
    const spot = this.#hotspots.spots[index];
    if (!spot) return;
    this.#state.hotspot = index;
    this.#stage.showHotspot(spot);
    this.#showHotspots();
    this.#hotspots.markSeen(index);
    this.#stage.redraw();
  }

  #stepHotspot(step: 1 | -1): void {
    const count = this.#hotspots.spots.length;
    if (count === 0) return;
    const at = this.#state.hotspot;
    this.#goToHotspot(at === null ? (step === 1 ? 0 : count - 1) : (at + step + count) % count);
  }

  #cycle(what: "pipeline" | "kind" | "className"): void {
    const choice = this.#state.choices[this.#state.active];
    const result = choice && this.#state.results.get(choice.pipeline);
    if (!choice || !result) return;
    this.#touched = true;
    const options = {
      pipeline: [...this.#state.results.keys()],
      kind: result.layers,
      className: result.classes,
    }[what];
    const next = options[(options.indexOf(choice[what]) + 1) % options.length];
    if (next) void this.#choose(this.#state.active, { ...choice, [what]: next });
  }

  #nudgeThreshold(step: number): void {
    const { settings } = this.#state;
    settings.threshold = Math.min(
      1,
      Math.max(0, Math.round((settings.threshold + step) * 100) / 100),
    );
    this.#controls.show();
    saveSettings(settings);
    this.#stage.recolour();
  }

  #listenKeys(): void {
    listenKeys(this.#stop.signal, {
      pane: () => this.#stage.pane,
      hold: (held) => this.#setHeld(held),
      toggleOverlay: () => this.#setOverlay(!this.#state.overlay),
      threshold: (step) => this.#nudgeThreshold(step),
      hotspot: (step) => this.#stepHotspot(step),
      mode: (mode) => this.#toggleMode(mode),
      cycle: (what) => this.#cycle(what),
      decide: (decision) => {
        if (this.#state.hotspot !== null) this.#decide(this.#state.hotspot, decision);
      },
      sign: () => this.#reviewPanel.askSign(),
      leave: () => {
        if (this.#state.mode !== "single") this.#setMode("single");
        else location.hash = "#/";
      },
    });
  }
}

function firstState(slide: Slide): ViewerState {
  const settings = loadSettings();
  return {
    slide,
    settings,
    pipelines: pipelineNames([slide], []),
    modelled: null,
    jobs: new Map(),
    results: new Map(),
    mode: "single",
    overlay: settings.overlayAtOpen,
    held: false,
    choices: [null, null],
    active: 0,
    hotspot: null,
    hidden: false,
  };
}

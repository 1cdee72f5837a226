import { Annotations } from "../annotations/annotations";
import { ApiError, getLayout, listModels, pause } from "../api/client";
import type { Slide } from "../api/types";
import type { TileLayout } from "../pure/dzi";
import { basePower } from "../pure/scale";
import { pipelineNames } from "../pure/worklist";
import { isBlind, isHidden, setBlind } from "../reader";
import { saveSettings } from "../settings";
import { fill, h, perFrame, setText } from "../ui/dom";
import { firstChoice, fitChoice, type LayerChoice } from "./choice";
import { HeatControls } from "./controls";
import { EarlierDecisions } from "./earlier";
import { Frame } from "./frame";
import { HotspotList } from "./hotspots";
import { SlideJobs } from "./jobs";
import { listenKeys } from "./keys";
import { Marks } from "./marks";
import { openNeighbour } from "./neighbours";
import { type PointerReading, readingText } from "./pane";
import { Presence } from "./presence";
import { showResults } from "./results";
import { ReviewPanel } from "./reviewpanel";
import { ReviewStore } from "./reviewstore";
import { SignedRuns } from "./signedruns";
import { Stage } from "./stage";
import {
  diagnoses,
  firstState,
  hotspotResult,
  type Mode,
  newestResults,
  nextChoice,
  threshold,
  type ViewerState,
} from "./state";
import { loadTissue } from "./tissue";
import { showPowers, viewerToolbar } from "./toolbar";
import { HotspotWalk } from "./walk";

/** How long the panel waits for outlines and small pictures once the results are there. */
const READY_TIMEOUT_MS = 700;

/** The review of one slide, once it is known. */
export class ViewerPage {
  readonly #root: Element;
  readonly #stop = new AbortController();
  readonly #state: ViewerState;
  readonly #jobs: SlideJobs;
  readonly #stage: Stage;
  readonly #frame: Frame;
  readonly #results = h("div", { class: "results" });
  readonly #signedRuns: SignedRuns;
  readonly #earlier: EarlierDecisions;
  readonly #toolbar = viewerToolbar(() => this.#stage.pane);
  readonly #reading = h("span", { class: "reading" });
  readonly #hotspots: HotspotList;
  readonly #walk: HotspotWalk;
  readonly #controls: HeatControls;
  readonly #review: ReviewStore;
  readonly #marks: Marks;
  readonly #annotations: Annotations;
  readonly #reviewPanel: ReviewPanel;
  readonly #presence: Presence;
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
      mpp: (changed) => {
        this.#frame.showSlide(changed);
        this.#stage.setSlide(changed);
        showPowers(this.#toolbar, basePower(changed));
        this.#annotations.setMpp(changed.mpp);
        this.#showResults();
      },
    });
    this.#stage = new Stage(this.#state, {
      active: (view) => this.#setActive(view),
      pointer: (reading) => this.#showReading(reading),
      opened: (pane) => this.#annotations.attach(pane),
    });
    this.#annotations = new Annotations(slide, () => this.#stage.pane, this.#stop.signal);
    this.#controls = this.#makeControls();
    this.#review = new ReviewStore(slide.id, this.#stop.signal);
    this.#review.onChange = () => this.#showReview();
    this.#marks = new Marks(this.#state, this.#review);
    this.#hotspots = new HotspotList({
      choose: (index) => this.#walk.goTo(index),
      decide: (index, decision) => this.#marks.decide(index, decision),
      comment: (index, text) => this.#marks.comment(index, text),
    });
    this.#walk = new HotspotWalk(this.#state, this.#stage, this.#hotspots, this.#marks, () =>
      this.#showHotspots(),
    );
    this.#signedRuns = new SignedRuns(this.#state, {
      read: (jobId) => this.#jobs.read(jobId),
      choose: (view, choice) => this.#choose(view, choice),
      compare: () => {
        this.#touched = true;
        this.#setMode("side");
      },
      changed: () => {
        this.#showAll();
        this.#reviewPanel.show();
      },
    });
    this.#earlier = new EarlierDecisions(this.#state, this.#review, {
      read: (jobId) => this.#jobs.read(jobId),
      showRun: (jobId) => void this.#chooseResult(jobId),
    });
    this.#reviewPanel = this.#makeReviewPanel();
    this.#presence = new Presence(slide.id, this.#stop.signal);
    showPowers(this.#toolbar, basePower(slide));
    this.#frame = new Frame({
      slide,
      stage: this.#stage.element,
      toolbar: this.#annotations.tools(this.#toolbar),
      results: h("div", {}, this.#signedRuns.banner, this.#results),
      heatmap: this.#controls.element,
      tissue: this.#controls.tissueElement,
      presence: this.#presence.element,
      hotspots: h("div", {}, this.#earlier.element, this.#hotspots.element),
      annotations: this.#annotations.panel,
      review: this.#reviewPanel.element,
      reading: this.#reading,
      notices: [this.#reviewPanel.notice.element, this.#annotations.notice.element],
      giveMpp: () => void this.#jobs.giveMpp(),
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
    void this.#presence.run();
    void this.#annotations.run();
    // The models name the pipelines, by which results are put in order.
    const known = this.#loadModels().then(() => this.#jobs.load());
    void known.then(() => this.#jobs.watch());
    const all = Promise.all([known, this.#loadLayout(), this.#loadTissue()]);
    // The results are not kept waiting for what only adorns them.
    const soon = Promise.race([all, known.then(() => pause(READY_TIMEOUT_MS, this.#stop.signal))]);
    await Promise.all([all, soon.then(() => this.#frame.showReady())]);
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
      chooseResult: (jobId) => void this.#chooseResult(jobId),
      setOverlay: (on) => this.#setOverlay(on),
      setTissue: (on) => this.#setTissue(on),
      setActive: (view) => this.#setActive(view),
    });
  }

  #makeReviewPanel(): ReviewPanel {
    const { settings } = this.#state;
    return new ReviewPanel({
      store: this.#review,
      results: () => newestResults(this.#state),
      resultOf: (jobId) => this.#state.results.get(jobId),
      classes: () => diagnoses(this.#state),
      isHidden: () => this.#state.hidden,
      blind: isBlind,
      setBlind: (on) => {
        settings.blind = on;
        setBlind(on);
        this.#revealed = false;
        this.#showReview();
      },
    });
  }

  // --- data ---------------------------------------------------------------------------------

  async #loadModels(): Promise<void> {
    try {
      const models = await listModels();
      this.#state.models = models;
      this.#state.modelled = new Set(models.map((model) => model.pipeline));
      this.#state.pipelines = pipelineNames([this.#state.slide], [...this.#state.modelled]);
      this.#showResults();
      this.#reviewPanel.show();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#jobs.reportError(`Could not load the models: ${error.message}`);
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

  async #loadTissue(): Promise<void> {
    try {
      this.#state.tissue = await loadTissue(this.#state.slide);
      this.#controls.show();
      this.#stage.redraw();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#jobs.reportError(`Could not load the tissue outlines: ${error.message}`);
    }
  }

  async #takeResult(): Promise<void> {
    const [first, second] = newestResults(this.#state);
    const { choices } = this.#state;
    const isFirst = choices[0]?.jobId === first?.job_id;
    if (first && !isFirst && !this.#touched) await this.#choose(0, firstChoice(first));
    if (second && !choices[1]) await this.#choose(1, firstChoice(second));
    if (this.#state.tissue.length === 0) void this.#loadTissue();
    this.#showAll();
    this.#reviewPanel.show();
  }

  // --- what is shown ------------------------------------------------------------------------

  async #choose(view: 0 | 1, choice: LayerChoice | null): Promise<void> {
    const listed = hotspotResult(this.#state)?.job_id;
    this.#state.choices[view] = choice;
    // Another list of hotspots starts again; the same one keeps the reader's place.
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
    this.#signedRuns.showBanner();
    showResults(this.#results, this.#state, {
      start: (pipeline, model) => void this.#jobs.start(pipeline, model),
      cancel: (job) => void this.#jobs.cancel(job),
      reveal: () => {
        this.#revealed = true;
        this.#showReview();
      },
    });
  }

  /** Bring the page in line with the review: its decisions, and whether the model may be seen. */
  #showReview(): void {
    const hidden = !this.#revealed && isHidden(this.#state.slide.id, this.#review.saved);
    if (hidden !== this.#state.hidden) {
      this.#state.hidden = hidden;
      this.#state.hotspot = null;
      this.#frame.showBlind(hidden);
      this.#annotations.setBlind(hidden);
      this.#showAll();
    }
    this.#reviewPanel.show();
    this.#showDecisions();
    void this.#signedRuns.follow(this.#review.saved);
  }

  #showDecisions(): void {
    this.#earlier.show();
    this.#hotspots.showRecords(this.#marks.of, this.#marks.locked);
  }

  #showHotspots(): void {
    this.#hotspots.show(hotspotResult(this.#state), this.#state.hotspot, this.#layout);
    this.#showDecisions();
  }

  #showReading(reading: PointerReading | null): void {
    this.#controls.showValue(reading?.value ?? null);
    setText(this.#reading, readingText(this.#state.slide, reading));
  }

  // --- doing --------------------------------------------------------------------------------

  #setOverlay(on: boolean): void {
    this.#state.overlay = on;
    this.#controls.show();
    this.#stage.redraw();
  }

  #setTissue(on: boolean): void {
    this.#state.settings.tissue = on;
    saveSettings(this.#state.settings);
    this.#controls.show();
    this.#stage.redraw();
  }

  async #chooseResult(jobId: string): Promise<void> {
    this.#touched = true;
    const view = this.#state.active;
    const result = await this.#jobs.read(jobId);
    if (result) await this.#choose(view, fitChoice(result, this.#state.choices[view]));
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

  #cycle(what: "pipeline" | "kind" | "className"): void {
    const next = nextChoice(this.#state, what);
    if (!next) return;
    this.#touched = true;
    void this.#choose(this.#state.active, next);
  }

  #nudgeThreshold(step: number): void {
    const { settings } = this.#state;
    const wanted = Math.round((threshold(this.#state).now + step) * 100) / 100;
    settings.threshold = Math.min(1, Math.max(0, wanted));
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
      hotspot: (step) => this.#walk.step(step),
      mode: (mode) => this.#toggleMode(mode),
      cycle: (what) => this.#cycle(what),
      decide: (decision) => this.#walk.decide(decision),
      decideAndGoOn: (decision) => this.#walk.decideAndGoOn(decision),
      comment: () => this.#hotspots.focusComment(),
      tissue: () => this.#setTissue(!this.#state.settings.tissue),
      slide: (step) => openNeighbour(this.#state.slide.id, step),
      sign: () => this.#reviewPanel.askSign(),
      leave: () => {
        if (this.#state.mode !== "single") this.#setMode("single");
        else location.hash = "#/";
      },
    });
  }
}

import {
  ApiError,
  cancelJob,
  followJob,
  getLayout,
  getResult,
  getSlide,
  isAway,
  listJobs,
  listModels,
  messageOf,
  pause,
  setMpp,
  startJob,
} from "../api/client";
import { isFinal, type Job, type Model, type Slide } from "../api/types";
import type { Place } from "../place";
import type { TileLayout } from "../pure/dzi";
import { kindTitle, mppText, pipelineTitle, pixels } from "../pure/format";
import { type Decision, decisionOf, spotKey } from "../pure/review";
import { pipelineNames } from "../pure/worklist";
import { loadSettings, saveSettings } from "../settings";
import { askMpp } from "../ui/dialog";
import { fill, h, perFrame, setText } from "../ui/dom";
import { icon } from "../ui/icons";
import { stateCard, toast } from "../ui/notice";
import { firstChoice, type LayerChoice } from "./choice";
import { HeatControls } from "./controls";
import { HotspotList } from "./hotspots";
import { listenKeys, showKeyHelp } from "./keys";
import { HeatmapCache } from "./layers";
import { type PointerReading, SlidePane } from "./pane";
import { showResults } from "./results";
import { ReviewPanel } from "./reviewpanel";
import { ReviewStore } from "./reviewstore";
import { hotspotResult, type Mode, type ViewerState } from "./state";
import { SwipeHandle } from "./swipe";
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

function showLoadError(root: Element, error: unknown, retry: () => Promise<void>): void {
  const back = h("a", { class: "button", href: "#/" }, "Back to the worklist");
  const missing = error instanceof ApiError && error.status === 404;
  const card = missing
    ? stateCard(
        "This slide is not here",
        "It was deleted, or the address is wrong.",
        [back],
        "error",
      )
    : stateCard(
        isAway(error) ? "The service is away" : "The slide could not be opened",
        `${messageOf(error)}${isAway(error) ? " This page keeps trying." : ""}`,
        [
          h("button", { class: "button primary", onclick: () => void retry() }, "Try again now"),
          back,
        ],
        "error",
      );
  fill(root, card);
}

class ViewerPage {
  readonly #root: Element;
  readonly #signal: AbortSignal;
  readonly #state: ViewerState;
  readonly #heatmaps: HeatmapCache;
  readonly #stage = h("div", { class: "stage" });
  readonly #results = h("div", { class: "results" });
  readonly #reading = h("span", { class: "reading" });
  readonly #panes: SlidePane[] = [];
  readonly #hotspots: HotspotList;
  readonly #controls: HeatControls;
  readonly #swipe: SwipeHandle;
  readonly #review: ReviewStore;
  readonly #reviewPanel: ReviewPanel;
  #revealed = false;
  #models: readonly Model[] = [];
  readonly #modeButtons = new Map<Mode, HTMLButtonElement>();
  #layout: TileLayout | null = null;
  #leader = 0;
  /** Whether the reader chose a layer: what arrives later must not take it away. */
  #touched = false;

  constructor(root: Element, slide: Slide, signal: AbortSignal) {
    this.#root = root;
    this.#signal = signal;
    const settings = loadSettings();
    this.#state = {
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
    this.#review = new ReviewStore(slide.id, signal);
    this.#review.onChange = () => this.#showReview();
    this.#reviewPanel = new ReviewPanel({
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
    this.#heatmaps = new HeatmapCache(settings);
    this.#hotspots = new HotspotList(
      (index) => this.#goToHotspot(index),
      (index, decision) => this.#decide(index, decision),
    );
    const repaint = perFrame(() => {
      this.#heatmaps.recolour();
      saveSettings(settings);
      this.#redraw();
    });
    this.#controls = new HeatControls(this.#state, {
      repaint,
      choose: (choice) => {
        this.#touched = true;
        void this.#choose(this.#state.active, choice);
      },
      setOverlay: (on) => this.#setOverlay(on),
      setActive: (view) => this.#setActive(view),
    });
    this.#swipe = new SwipeHandle((share) => {
      const pane = this.#panes[0];
      if (!pane) return;
      pane.content.divider = share;
      pane.redraw();
    });
  }

  async begin(): Promise<void> {
    const { slide } = this.#state;
    document.title = `${slide.name} · wholeslide`;
    this.#build();
    this.#addPane(`Slide ${slide.name}`);
    this.#showAll();
    this.#listenKeys();
    await Promise.all([this.#loadModels(), this.#loadJobs(), this.#loadLayout()]);
    void this.#review.run();
  }

  destroy(): void {
    for (const pane of this.#panes.splice(0)) pane.destroy();
  }

  // --- building -----------------------------------------------------------------------------

  #build(): void {
    const { slide } = this.#state;
    const section = (title: string, ...content: readonly Node[]) =>
      h("section", { class: "panel-section" }, h("h2", {}, title), [...content]);
    fill(
      this.#root,
      h(
        "div",
        { class: "viewer-page" },
        h(
          "header",
          { class: "topbar" },
          h(
            "a",
            { class: "icon-button", href: "#/", "aria-label": "Back to the worklist" },
            icon("back"),
          ),
          h("div", { class: "slide-title" }, h("h1", {}, slide.name), this.#facts()),
          h(
            "div",
            { class: "topbar-actions" },
            this.#modeButton("side", "Side by side", "s", "split"),
            this.#modeButton("swipe", "Swipe", "d", "swipe"),
            h(
              "a",
              {
                class: "icon-button",
                href: `#/slides/${slide.id}/report`,
                "aria-label": "Report to print",
                title: "Report to print",
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
        ),
        h(
          "main",
          { class: "stage-box" },
          this.#stage,
          viewerToolbar(() => this.#pane()),
        ),
        h(
          "aside",
          { class: "panel", "aria-label": "Results and heatmaps", tabindex: "-1" },
          section("Result", this.#results),
          section("Heatmap", this.#controls.element),
          section("Hotspots", this.#hotspots.element),
          section("Review", this.#reviewPanel.element),
          h("p", { class: "research" }, "Research use only – not a medical device."),
        ),
        h("footer", { class: "statusbar" }, this.#reading),
      ),
    );
  }

  #facts(): HTMLElement {
    const { slide } = this.#state;
    return h(
      "p",
      { class: "slide-facts" },
      h("span", {}, `${pixels(slide.width, slide.height)} px`),
      slide.mpp === null
        ? h(
            "button",
            { class: "link", onclick: () => void this.#giveMpp("") },
            "resolution unknown – set it",
          )
        : h("span", {}, mppText(slide.mpp)),
      h("span", {}, slide.vendor),
    );
  }

  #modeButton(mode: Mode, label: string, key: string, name: "split" | "swipe"): HTMLElement {
    const button = h(
      "button",
      {
        class: "button",
        "aria-pressed": "false",
        title: `${label} (${key})`,
        onclick: () => this.#setMode(this.#state.mode === mode ? "single" : mode),
      },
      icon(name, 16),
      h("span", { class: "wide-only" }, label),
    );
    button.setAttribute("aria-label", label);
    this.#modeButtons.set(mode, button);
    return button;
  }

  #addPane(name: string): SlidePane {
    const index = this.#panes.length;
    const pane = new SlidePane(this.#stage, this.#state.slide, this.#state.settings, name);
    this.#panes.push(pane);
    pane.onMove = () => {
      if (this.#leader !== index) return;
      for (const other of this.#panes) if (other !== pane) other.follow(pane);
    };
    pane.onActive = () => {
      this.#leader = index;
      if (this.#state.mode === "side") this.#setActive(index === 1 ? 1 : 0);
    };
    pane.onPointer = (reading) => this.#showReading(reading);
    pane.onFailure = (text) => pane.notify(text);
    pane.viewer.addOnceHandler("open", () => {
      const leader = this.#panes[this.#leader];
      if (leader && leader !== pane) pane.follow(leader);
    });
    return pane;
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

  async #loadJobs(): Promise<void> {
    const { items } = await listJobs(`slide_id=${this.#state.slide.id}`);
    // Newest first: the first of each pipeline counts.
    for (const job of items) {
      if (!this.#state.jobs.has(job.pipeline)) this.#state.jobs.set(job.pipeline, job);
    }
    this.#showResults();
    const waiting: Promise<void>[] = [];
    for (const [pipeline, job] of this.#state.jobs) {
      if (!isFinal(job.status)) this.#follow(job);
      // The last result stays in sight while a newer job runs or after it failed.
      const done =
        job.status === "SUCCEEDED"
          ? job
          : items.find((j) => j.pipeline === pipeline && j.status === "SUCCEEDED");
      if (done) waiting.push(this.#loadResult(done));
    }
    await Promise.all(waiting);
  }

  async #loadResult(job: Job): Promise<void> {
    try {
      const result = await getResult(job.id);
      if (this.#signal.aborted) return;
      const { results } = this.#state;
      results.set(job.pipeline, result);
      // The order of the pipelines, whichever came first.
      const sorted = [...results.values()].sort(
        (a, b) =>
          this.#state.pipelines.indexOf(a.pipeline) - this.#state.pipelines.indexOf(b.pipeline),
      );
      results.clear();
      for (const r of sorted) results.set(r.pipeline, r);
      await this.#chooseFirst();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(
        `The ${pipelineTitle(job.pipeline).toLowerCase()} result did not come: ${error.message}`,
        "error",
      );
    }
    this.#showAll();
  }

  async #chooseFirst(): Promise<void> {
    const [first, second] = [...this.#state.results.values()];
    const { choices } = this.#state;
    if (first && (!choices[0] || choices[0].pipeline === second?.pipeline) && !this.#touched) {
      await this.#choose(0, firstChoice(first));
    }
    if (second && !choices[1]) await this.#choose(1, firstChoice(second));
  }

  #follow(job: Job): void {
    const onChange = (now: Job) => {
      const before = this.#state.jobs.get(job.pipeline);
      // A newer job of this pipeline has taken its place.
      if (before && before.id !== now.id) return;
      this.#state.jobs.set(job.pipeline, now);
      this.#showResults();
      if (now.status === "SUCCEEDED") void this.#loadResult(now);
    };
    followJob(job.id, onChange, this.#signal).catch((error: unknown) =>
      toast(`The job's progress did not come: ${messageOf(error)}`, "error"),
    );
  }

  async #start(pipeline: string): Promise<void> {
    try {
      const job = await startJob(this.#state.slide.id, pipeline, null);
      this.#state.jobs.set(pipeline, job);
      this.#follow(job);
      this.#showResults();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.kind === "mpp") {
        if (await this.#giveMpp(error.message)) await this.#start(pipeline);
        return;
      }
      toast(error.message, "error");
    }
  }

  async #giveMpp(reason: string): Promise<boolean> {
    const mpp = await askMpp(this.#state.slide.name, reason);
    if (mpp === null) return false;
    try {
      await setMpp(this.#state.slide.id, mpp);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, "error");
      return false;
    }
    this.#state.slide = { ...this.#state.slide, mpp };
    const facts = this.#root.querySelector(".slide-facts");
    facts?.replaceWith(this.#facts());
    for (const pane of this.#panes) pane.setMpp(mpp);
    return true;
  }

  async #cancel(job: Job): Promise<void> {
    try {
      this.#state.jobs.set(job.pipeline, await cancelJob(job.id));
      this.#showResults();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, "error");
    }
  }

  // --- what is shown ------------------------------------------------------------------------

  async #choose(view: 0 | 1, choice: LayerChoice | null): Promise<void> {
    const { choices, results } = this.#state;
    choices[view] = choice;
    this.#state.hotspot = null;
    this.#showAll();
    const result = choice && results.get(choice.pipeline);
    const pane = this.#panes[this.#state.mode === "side" ? view : 0];
    if (!choice || !result) return;
    try {
      await this.#heatmaps.get(result, choice);
      pane?.notify(null);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const what = `${pipelineTitle(choice.pipeline)} · ${kindTitle(choice.kind)} · ${choice.className}`;
      pane?.notify(`The heatmap “${what}” is missing: ${error.message}`);
    }
    await this.#fillPanes();
  }

  /** Give each view the layers that it shall draw. */
  async #fillPanes(): Promise<void> {
    const layer = async (choice: LayerChoice | null) => {
      const result = choice && this.#state.results.get(choice.pipeline);
      if (!choice || !result || result.outcome === "no_tissue") return null;
      try {
        return await this.#heatmaps.get(result, choice);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        return null; // Told to the reader when it was chosen.
      }
    };
    const [left, right] = await Promise.all(this.#state.choices.map(layer));
    const { mode, choices } = this.#state;
    const [first, second] = this.#panes;
    if (first) {
      first.content.left = left ?? null;
      first.content.right = mode === "swipe" ? (right ?? null) : null;
      first.setTitle(mode === "single" ? null : choiceTitle(choices[0]));
    }
    if (second) {
      second.content.left = right ?? null;
      second.setTitle(choiceTitle(choices[1]));
    }
    this.#swipe.setTitles(choiceTitle(choices[0]), choiceTitle(choices[1]));
    if (mode === "swipe") first?.setTitle(null);
    this.#redraw();
  }

  #redraw(): void {
    const { overlay, held, settings, hotspot } = this.#state;
    const spots = hotspotResult(this.#state)?.hotspots ?? [];
    for (const pane of this.#panes) {
      pane.content.visible = overlay && !held && !this.#state.hidden;
      pane.content.outlines = settings.outlines;
      pane.content.hotspots = spots;
      pane.content.current = hotspot;
      pane.redraw();
    }
  }

  #showAll(): void {
    this.#showResults();
    this.#controls.show();
    this.#showHotspots();
    void this.#fillPanes();
  }

  #showResults(): void {
    showResults(this.#results, this.#state, {
      start: (pipeline) => void this.#start(pipeline),
      cancel: (job) => void this.#cancel(job),
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
      this.#root.querySelector(".viewer-page")?.classList.toggle("blind", hidden);
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

  #pane(): SlidePane | undefined {
    return this.#panes[this.#leader] ?? this.#panes[0];
  }

  #setOverlay(on: boolean): void {
    this.#state.overlay = on;
    this.#controls.show();
    this.#redraw();
  }

  #setHeld(held: boolean): void {
    if (this.#state.held === held) return;
    this.#state.held = held;
    this.#redraw();
  }

  #setActive(view: 0 | 1): void {
    if (this.#state.active === view) return;
    this.#state.active = view;
    this.#state.hotspot = null;
    this.#controls.show();
    this.#showHotspots();
    this.#redraw();
  }

  #setMode(mode: Mode): void {
    const state = this.#state;
    state.mode = mode;
    state.active = 0;
    this.#leader = 0;
    if (mode !== "single") state.overlay = true;
    for (const [name, button] of this.#modeButtons) {
      button.setAttribute("aria-pressed", name === mode ? "true" : "false");
    }
    this.#stage.classList.toggle("two", mode === "side");
    if (mode === "side" && this.#panes.length === 1) this.#addPane("Second view, locked");
    if (mode !== "side") this.#panes.splice(1).forEach((pane) => void pane.destroy());
    const pane = this.#panes[0];
    if (pane) {
      pane.content.divider = mode === "swipe" ? 0.5 : null;
      if (mode === "swipe") this.#swipe.attach(pane.element);
      else this.#swipe.detach();
    }
    this.#showAll();
  }

  #goToHotspot(index: number): void {
    const spot = this.#hotspots.spots[index];
    if (!spot) return;
    this.#leader = 0;
    this.#state.hotspot = index;
    this.#panes[0]?.showHotspot(spot);
    this.#showHotspots();
    this.#hotspots.markSeen(index);
    this.#redraw();
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
    this.#heatmaps.recolour();
    saveSettings(settings);
    this.#redraw();
  }

  #listenKeys(): void {
    listenKeys(this.#signal, {
      pane: () => this.#pane(),
      hold: (held) => this.#setHeld(held),
      toggleOverlay: () => this.#setOverlay(!this.#state.overlay),
      threshold: (step) => this.#nudgeThreshold(step),
      hotspot: (step) => this.#stepHotspot(step),
      mode: (mode) => this.#setMode(this.#state.mode === mode ? "single" : mode),
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

function choiceTitle(choice: LayerChoice | null): string {
  if (!choice) return "Bare slide";
  return `${pipelineTitle(choice.pipeline)} · ${kindTitle(choice.kind)} · ${choice.className}`;
}

import {
  ApiError,
  getSlide,
  isAway,
  listJobs,
  listModels,
  listSlides,
  messageOf,
  pause,
  setMpp,
  startJob,
} from "../api/client";
import type { Job, Model, Slide } from "../api/types";
import type { Place } from "../place";
import {
  filterSlides,
  type Order,
  pipelineNames,
  type StateFilter,
  sortSlides,
  withJob,
} from "../pure/worklist";
import { askMpp } from "../ui/dialog";
import { fill, h, isTyping, setText } from "../ui/dom";
import { icon } from "../ui/icons";
import { stateCard, toast } from "../ui/notice";
import { askPipelines, showWorklistKeys } from "./dialogs";
import { SlideTable } from "./table";
import { Uploads } from "./upload";

const PAGE = 500;
const POLL_MS = 1500;

/** The list of slides, most suspicious first. */
export function showWorklist(root: Element): Place {
  const stop = new AbortController();
  const page = new WorklistPage(root, stop.signal);
  void page.run();
  return {
    leave: () => {
      stop.abort();
      page.destroy();
    },
  };
}

class WorklistPage {
  readonly #root: Element;
  readonly #signal: AbortSignal;
  readonly #slides = new Map<string, Slide>();
  readonly #banner = h("div", { class: "banner", role: "alert", hidden: true });
  readonly #body = h("div", { class: "worklist-body" });
  readonly #count = h("span", { class: "quiet count", "aria-live": "polite" });
  readonly #search: HTMLInputElement;
  readonly #table: SlideTable;
  readonly #uploads: Uploads;
  readonly #startButton: HTMLButtonElement;
  #models: readonly Model[] = [];
  #active = new Map<string, Job>();
  #order: Order = { key: "suspicion", descending: true };
  #state: StateFilter = "all";
  #loaded = false;

  constructor(root: Element, signal: AbortSignal) {
    this.#root = root;
    this.#signal = signal;
    this.#search = h("input", {
      type: "search",
      placeholder: "Search slides",
      "aria-label": "Search slides",
      oninput: () => this.#show(),
    });
    this.#startButton = h(
      "button",
      { class: "button", disabled: true, onclick: () => this.#askStart() },
      icon("play", 16),
      "Score selected",
    );
    this.#table = new SlideTable({
      sort: (order) => {
        this.#order = order;
        this.#show();
      },
      selected: (count) => {
        this.#startButton.disabled = count === 0;
      },
      start: (slide) => this.#askStart([slide]),
      giveMpp: (slide) => void this.#giveMpp(slide, ""),
    });
    this.#uploads = new Uploads(root, signal, (slide) => {
      this.#slides.set(slide.id, slide);
      this.#show();
    });
  }

  async run(): Promise<void> {
    this.#build();
    fill(this.#body, stateCard("Loading the worklist…", ""));
    window.addEventListener("keydown", (event) => this.#onKey(event), { signal: this.#signal });
    while (!this.#signal.aborted) {
      try {
        if (this.#loaded) await this.#poll();
        else await this.#load();
        this.#warn(null);
      } catch (error) {
        if (this.#signal.aborted) return;
        if (!(error instanceof ApiError)) throw error;
        this.#warn(
          isAway(error)
            ? "The service is away. What you see may be old; this page keeps trying."
            : `The worklist could not be read: ${error.message}`,
        );
        if (!this.#loaded) this.#showNothing(error);
      }
      await pause(POLL_MS, this.#signal);
    }
  }

  destroy(): void {
    this.#table.destroy();
  }

  // --- data ---------------------------------------------------------------------------------

  async #load(): Promise<void> {
    const [first, models] = await Promise.all([listSlides(PAGE, 0), listModels()]);
    this.#models = models;
    for (const slide of first.items) this.#slides.set(slide.id, slide);
    this.#loaded = true;
    this.#show();
    let seen = first.items.length;
    while (seen < first.total && !this.#signal.aborted) {
      const next = await listSlides(PAGE, seen);
      if (next.items.length === 0) break;
      for (const slide of next.items) this.#slides.set(slide.id, slide);
      seen += next.items.length;
      this.#show();
    }
  }

  /** Running jobs are few; slides may be thousands. So ask for jobs, and for slides that changed. */
  async #poll(): Promise<void> {
    const [queued, running, newest] = await Promise.all([
      listJobs("status=QUEUED"),
      listJobs("status=RUNNING"),
      listSlides(20, 0),
    ]);
    const now = new Map([...queued.items, ...running.items].map((job) => [job.id, job]));
    const ended = [...this.#active.values()].filter((job) => !now.has(job.id));
    this.#active = now;
    for (const slide of newest.items) {
      if (!this.#slides.has(slide.id)) this.#slides.set(slide.id, slide);
    }
    for (const id of new Set(ended.map((job) => job.slide_id))) {
      this.#slides.set(id, await getSlide(id));
    }
    for (const job of now.values()) {
      const slide = this.#slides.get(job.slide_id);
      if (slide) this.#slides.set(slide.id, withJob(slide, job));
    }
    this.#show();
  }

  async #start(slides: readonly Slide[], pipelines: readonly string[]): Promise<void> {
    for (const slide of slides) {
      for (const pipeline of pipelines) {
        try {
          if (!(await this.#startOne(slide, pipeline))) break;
        } catch (error) {
          if (!(error instanceof ApiError)) throw error;
          toast(`${slide.name}: ${error.message}`, "error");
          break;
        }
      }
    }
    this.#show();
  }

  /** Returns whether to go on with this slide. */
  async #startOne(slide: Slide, pipeline: string): Promise<boolean> {
    try {
      const job = await startJob(slide.id, pipeline, null);
      this.#active.set(job.id, job);
      this.#slides.set(slide.id, withJob(this.#slides.get(slide.id) ?? slide, job));
      return true;
    } catch (error) {
      if (!(error instanceof ApiError) || error.kind !== "mpp") throw error;
      return (await this.#giveMpp(slide, error.message)) && this.#startOne(slide, pipeline);
    }
  }

  async #giveMpp(slide: Slide, reason: string): Promise<boolean> {
    const mpp = await askMpp(slide.name, reason);
    if (mpp === null) return false;
    try {
      this.#slides.set(slide.id, await setMpp(slide.id, mpp));
      this.#show();
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, "error");
      return false;
    }
  }

  // --- what is shown ------------------------------------------------------------------------

  #build(): void {
    fill(
      this.#root,
      h(
        "div",
        { class: "worklist-page" },
        h(
          "header",
          { class: "topbar" },
          h(
            "div",
            { class: "brand" },
            h("span", { class: "brand-mark", "aria-hidden": "true" }),
            h("h1", {}, "Worklist"),
          ),
          this.#search,
          this.#filter(),
          this.#count,
          h("div", { class: "topbar-actions" }, this.#startButton, this.#uploads.button),
        ),
        this.#banner,
        this.#uploads.list,
        h("main", { class: "worklist-main" }, this.#body),
        h(
          "footer",
          { class: "statusbar" },
          h("span", {}, "Research use only – not a medical device."),
          h(
            "span",
            { class: "keys" },
            h("kbd", {}, "↑"),
            h("kbd", {}, "↓"),
            " move · ",
            h("kbd", {}, "Enter"),
            " open · ",
            h("kbd", {}, "x"),
            " select · ",
            h("kbd", {}, "/"),
            " search",
          ),
        ),
      ),
    );
  }

  #filter(): HTMLElement {
    const select = h(
      "select",
      {
        "aria-label": "Show slides",
        onchange: () => {
          this.#state = select.value as StateFilter;
          this.#show();
        },
      },
      (
        [
          ["all", "All slides"],
          ["scored", "Scored"],
          ["unscored", "Not scored"],
          ["running", "In progress"],
          ["failed", "Failed"],
        ] as const
      ).map(([value, label]) => h("option", { value }, label)),
    );
    return select;
  }

  #show(): void {
    if (this.#signal.aborted || !this.#loaded) return;
    const all = [...this.#slides.values()];
    if (all.length === 0) {
      setText(this.#count, "");
      fill(this.#body, this.#welcome());
      return;
    }
    const pipelines = pipelineNames(all, [...new Set(this.#models.map((m) => m.pipeline))]);
    const shown = sortSlides(filterSlides(all, this.#search.value, this.#state), this.#order);
    setText(
      this.#count,
      shown.length === all.length
        ? `${all.length} slides`
        : `${shown.length} of ${all.length} slides`,
    );
    if (shown.length === 0) {
      fill(
        this.#body,
        stateCard("No slide matches", "Change the search or the filter.", [
          h(
            "button",
            {
              class: "button",
              onclick: () => {
                this.#search.value = "";
                this.#state = "all";
                const select = this.#root.querySelector<HTMLSelectElement>(".topbar select");
                if (select) select.value = "all";
                this.#show();
              },
            },
            "Show all slides",
          ),
        ]),
      );
      return;
    }
    if (this.#table.element.parentElement !== this.#body) fill(this.#body, this.#table.element);
    this.#table.show(shown, pipelines, this.#order);
  }

  #welcome(): HTMLElement {
    return stateCard(
      "No slides yet",
      "Drop whole-slide images anywhere on this page, or choose files: SVS, pyramidal TIFF, NDPI and whatever else OpenSlide reads in one file.",
      [
        h(
          "button",
          { class: "button primary", onclick: () => this.#uploads.button.click() },
          icon("upload", 16),
          "Choose slides",
        ),
      ],
    );
  }

  #showNothing(error: ApiError): void {
    fill(
      this.#body,
      stateCard(
        isAway(error) ? "The service is away" : "The worklist could not be read",
        `${messageOf(error)} This page keeps trying.`,
        [],
        "error",
      ),
    );
  }

  #warn(text: string | null): void {
    this.#banner.hidden = text === null;
    if (text !== null) setText(this.#banner, text);
  }

  #askStart(slides: readonly Slide[] = this.#table.selectedSlides()): void {
    askPipelines(slides, this.#models, (pipelines) => void this.#start(slides, pipelines));
  }

  #onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    const inSearch = event.target === this.#search;
    if (inSearch && event.key === "Enter") this.#table.openFirst();
    else if (inSearch && event.key === "ArrowDown") this.#table.focusFirst();
    else if (isTyping(event)) return;
    else if (event.key === "/") this.#search.focus();
    else if (event.key === "?") showWorklistKeys();
    else if (event.target === document.body && ["ArrowDown", "j"].includes(event.key)) {
      this.#table.focusFirst();
    } else return;
    event.preventDefault();
  }
}

import "./worklist.css";
import { ApiError, isTransient, isUnreachable, messageOf, pause, signOut } from "../api/client";
import type { Batch, Slide } from "../api/types";
import type { Place } from "../place";
import {
  filterSlides,
  type Order,
  pipelineNames,
  type StateFilter,
  sortSlides,
} from "../pure/worklist";
import {
  blindByRule,
  identity,
  isBlind,
  isHidden,
  maySignOut,
  meetReader,
  setBlind,
} from "../reader";
import { leaveWorklist, worklistView } from "../sequence";
import { fill, h, isTyping, setText } from "../ui/dom";
import { icon } from "../ui/icons";
import { stateCard, toast } from "../ui/notice";
import { Batches } from "./batches";
import { SlideList } from "./data";
import { askPipelines, showWorklistKeys } from "./dialogs";
import { SlideTable } from "./table";
import { theUploads } from "./upload";
import { countText, warning } from "./words";

const POLL_INTERVAL_MS = 1500;

const STATES: readonly (readonly [StateFilter, string])[] = [
  ["all", "All slides"],
  ["unsigned", "Not signed"],
  ["draft", "In review"],
  ["signed", "Signed"],
  ["scored", "Scored"],
  ["unscored", "Not scored"],
  ["running", "In progress"],
  ["failed", "Failed"],
  ["person", "Needs attention"],
  ["poor", "Poor quality"],
];

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
  readonly #list: SlideList;
  readonly #batches: Batches;
  readonly #banner = h("div", { class: "banner", role: "alert", hidden: true });
  readonly #body = h("div", { class: "worklist-body" });
  readonly #selected = h("span", { class: "quiet selected-count", "aria-live": "polite" });
  readonly #count = h("span", { class: "quiet count", "aria-live": "polite" });
  readonly #search: HTMLInputElement;
  readonly #states: HTMLSelectElement;
  readonly #blind: HTMLInputElement;
  readonly #reader = h("span", { class: "signed-in", hidden: true });
  readonly #table: SlideTable;
  readonly #startButton: HTMLButtonElement;
  readonly #uploads = theUploads();
  /** Null: what suits the reader: by suspicion, or by name where they read blind. */
  #order: Order | null = worklistView().order;
  #shown: readonly Slide[] = [];
  #returned = false;

  constructor(root: Element, signal: AbortSignal) {
    this.#root = root;
    this.#signal = signal;
    const view = worklistView();
    this.#list = new SlideList(() => this.#show(), signal);
    this.#batches = new Batches(
      {
        changed: () => this.#show(),
        jobs: (jobs) => this.#list.noteJobs(jobs),
        ended: () => void this.#list.load(),
      },
      signal,
    );
    this.#search = h("input", {
      type: "search",
      placeholder: "Search slides",
      "aria-label": "Search slides",
      value: view.words,
      oninput: () => this.#show(),
    });
    this.#states = h(
      "select",
      { "aria-label": "Show slides", onchange: () => this.#show() },
      STATES.map(([value, label]) => h("option", { value, selected: value === view.state }, label)),
    );
    this.#blind = h("input", { type: "checkbox", onchange: () => this.#setBlind() });
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
      selected: (count, hidden) => {
        this.#startButton.disabled = count === 0;
        const rest = hidden > 0 ? `, ${hidden} hidden by the search or filter` : "";
        setText(this.#selected, count + hidden > 0 ? `${count + hidden} selected${rest}` : "");
      },
      start: (slide) => this.#askStart([slide]),
      giveMpp: (slide) => void this.#list.giveMpp(slide),
    });
    this.#uploads.attach(root, signal, (slide) => this.#list.add(slide));
  }

  async run(): Promise<void> {
    this.#build();
    fill(this.#body, stateCard("Loading the worklist…", ""));
    window.addEventListener("keydown", (event) => this.#onKey(event), { signal: this.#signal });
    window.addEventListener("pagehide", () => this.#keepView(), { signal: this.#signal });
    while (!this.#signal.aborted) {
      try {
        if (this.#list.loaded) await this.#list.look();
        else await this.#load();
        this.#warn(null);
      } catch (error) {
        if (this.#signal.aborted) return;
        if (!(error instanceof ApiError)) throw error;
        this.#warn(warning(error));
        if (!this.#list.loaded) this.#showNothing(error);
      }
      await pause(POLL_INTERVAL_MS, this.#signal);
    }
  }

  destroy(): void {
    this.#keepView();
    this.#table.destroy();
  }

  /** The viewer goes through the same slides in the same order; coming back changes nothing. */
  #keepView(): void {
    if (!this.#list.loaded) return;
    leaveWorklist({
      words: this.#search.value,
      state: this.#states.value as StateFilter,
      batch: this.#batches.chosen,
      order: this.#order,
      ids: this.#shown.map((slide) => slide.id),
    });
  }

  async #load(): Promise<void> {
    // Before any row: whether the reader may see what the models say.
    await meetReader();
    this.#blind.checked = isBlind();
    this.#blind.disabled = blindByRule();
    this.#showReader();
    await Promise.all([this.#list.load(), this.#loadBatches()]);
  }

  async #loadBatches(): Promise<void> {
    await this.#batches.load();
    const { batch } = worklistView();
    if (batch !== "") await this.#batches.choose(batch);
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
          this.#states,
          this.#batches.select,
          this.#count,
          h(
            "div",
            { class: "topbar-actions" },
            this.#selected,
            this.#startButton,
            this.#uploads.button,
          ),
        ),
        this.#banner,
        this.#uploads.list,
        this.#batches.bar,
        h("main", { class: "worklist-main" }, this.#body),
        this.#statusbar(),
      ),
    );
  }

  #statusbar(): HTMLElement {
    const key = (name: string) => h("kbd", {}, name);
    return h(
      "footer",
      { class: "statusbar" },
      h("span", {}, "Research use only – not a medical device."),
      h("label", { class: "inline" }, this.#blind, "Blind first read"),
      this.#reader,
      h(
        "span",
        { class: "keys" },
        key("↑"),
        key("↓"),
        " move · ",
        key("Enter"),
        " open · ",
        key("x"),
        " select · ",
        key("/"),
        " search · ",
        key("?"),
        " keys",
      ),
    );
  }

  #show(): void {
    if (this.#signal.aborted || !this.#list.loaded) return;
    const all = [...this.#list.slides.values()];
    if (all.length === 0) {
      setText(this.#count, "");
      fill(this.#body, this.#welcome());
      return;
    }
    const filter = {
      words: this.#search.value,
      state: this.#states.value as StateFilter,
      among: this.#batches.slides,
    };
    const blind = isBlind();
    const order: Order =
      this.#order ??
      (blind ? { key: "name", descending: false } : { key: "suspicion", descending: true });
    const shown = sortSlides(filterSlides(all, filter), order, ({ id, review }) =>
      isHidden(id, review),
    );
    this.#shown = shown;
    setText(this.#count, countText(shown, all));
    const models = new Set(this.#list.models.map((model) => model.pipeline));
    this.#table.show({
      slides: shown,
      pipelines: pipelineNames(all, [...models]),
      order,
      refusals: new Map([...this.#list.refusals, ...this.#batches.refusals]),
    });
    if (shown.length === 0) {
      fill(this.#body, this.#noMatch());
      return;
    }
    if (this.#table.element.parentElement !== this.#body) {
      fill(this.#body, this.#table.element);
      this.#table.redraw();
    }
    this.#return();
  }

  /** Back from a slide: to its row. */
  #return(): void {
    if (this.#returned) return;
    this.#returned = true;
    const { opened } = worklistView();
    if (opened !== null) this.#table.focusSlide(opened);
  }

  #noMatch(): HTMLElement {
    const all = () => {
      this.#search.value = "";
      this.#states.value = "all";
      void this.#batches.choose("");
    };
    return stateCard("No slide matches", "Change the search or the filter.", [
      h("button", { class: "button", onclick: all }, "Show all slides"),
    ]);
  }

  #welcome(): HTMLElement {
    return stateCard(
      "No slides yet",
      "Drop whole-slide images anywhere on this page, or choose files: SVS, pyramidal TIFF, NDPI and any other single-file format that OpenSlide reads.",
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
    const title = isUnreachable(error) ? "Can't reach the server" : "Could not load the worklist";
    fill(
      this.#body,
      isTransient(error) && !isUnreachable(error)
        ? stateCard("Sign in to see the worklist", "An access key is required.")
        : stateCard(title, `${messageOf(error)} This page keeps trying.`, [], "error"),
    );
  }

  #warn(text: string | null): void {
    this.#banner.hidden = text === null;
    if (text !== null) setText(this.#banner, text);
  }

  #showReader(): void {
    const name = identity();
    this.#reader.hidden = name === null;
    if (name === null) return;
    fill(
      this.#reader,
      `Signed in as ${name}`,
      maySignOut() &&
        h("button", { class: "link", onclick: () => void this.#signOut() }, "Sign out"),
    );
  }

  // --- doing --------------------------------------------------------------------------------

  async #signOut(): Promise<void> {
    try {
      await signOut();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(`Could not sign out: ${error.message}`, "error");
      return;
    }
    location.assign("/login");
  }

  #setBlind(): void {
    setBlind(this.#blind.checked);
    // An order by scores would tell what is hidden.
    this.#order = null;
    this.#show();
  }

  #askStart(slides: readonly Slide[] = this.#table.selectedSlides()): void {
    askPipelines(slides, this.#list.models, async (choices) => {
      this.#table.clearSelection();
      const batch = await this.#list.start(slides, choices);
      if (batch) await this.#showBatch(batch);
    });
  }

  async #showBatch(batch: Batch): Promise<void> {
    await this.#batches.load();
    await this.#batches.choose(batch.id);
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
    else if (event.target === document.body && event.key === "Enter") this.#table.openFirst();
    else if (event.target === document.body && ["ArrowDown", "j"].includes(event.key)) {
      this.#table.focusFirst();
    } else return;
    event.preventDefault();
  }
}

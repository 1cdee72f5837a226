import { thumbnailUrl } from "../api/client";
import type { ResultSummary, Slide } from "../api/types";
import { ago, bytes, mppText, percent, pipelineTitle, pixels } from "../pure/format";
import { suspicion, suspiciousClass } from "../pure/suspicion";
import { type Order, type SortKey, slideState, visibleRows } from "../pure/worklist";
import { fill, h, perFrame } from "../ui/dom";
import { icon } from "../ui/icons";

/** The rows of the worklist. Only those in sight are in the document, so thousands stay fluid. */

const ROW = 68;

export interface TableActions {
  readonly sort: (order: Order) => void;
  readonly selected: (count: number) => void;
  readonly start: (slide: Slide) => void;
  readonly giveMpp: (slide: Slide) => void;
}

export class SlideTable {
  readonly element: HTMLElement;
  readonly #actions: TableActions;
  readonly #head = h("div", { class: "row-head", role: "row", "aria-rowindex": 1 });
  readonly #space = h("div", { class: "row-space", role: "rowgroup" });
  readonly #rows = new Map<string, { element: HTMLElement; key: string }>();
  readonly #selected = new Set<string>();
  readonly #resize: ResizeObserver;
  #slides: readonly Slide[] = [];
  #pipelines: readonly string[] = [];
  #headKey = "";
  #focused: string | null = null;

  constructor(actions: TableActions) {
    this.#actions = actions;
    this.element = h(
      "div",
      {
        class: "slide-table",
        role: "grid",
        "aria-label": "Slides",
        "aria-multiselectable": "true",
      },
      h("div", { role: "rowgroup", class: "head-group" }, this.#head),
      this.#space,
    );
    const draw = perFrame(() => this.#draw());
    this.element.addEventListener("scroll", draw, { passive: true });
    this.element.addEventListener("keydown", (event) => this.#onKey(event));
    this.#resize = new ResizeObserver(draw);
    this.#resize.observe(this.element);
  }

  destroy(): void {
    this.#resize.disconnect();
  }

  show(slides: readonly Slide[], pipelines: readonly string[], order: Order): void {
    this.#slides = slides;
    this.#pipelines = pipelines;
    this.element.setAttribute("aria-rowcount", String(slides.length + 1));
    this.element.style.setProperty("--pipelines", String(pipelines.length));
    this.#space.style.height = `${slides.length * ROW}px`;
    this.#showHead(order);
    this.#draw();
  }

  openFirst(): void {
    const first = this.#slides[0];
    if (first) location.hash = `#/slides/${first.id}`;
  }

  focusFirst(): void {
    this.#focusRow(0);
  }

  selectedSlides(): Slide[] {
    return this.#slides.filter((slide) => this.#selected.has(slide.id));
  }

  #showHead(order: Order): void {
    const key = JSON.stringify([order, this.#pipelines]);
    if (key === this.#headKey) return;
    this.#headKey = key;
    const focused = this.#head.contains(document.activeElement)
      ? document.activeElement?.getAttribute("data-sort")
      : null;
    const column = (sort: SortKey, label: string, title = "") =>
      h(
        "div",
        {
          role: "columnheader",
          "aria-sort": order.key === sort ? (order.descending ? "descending" : "ascending") : null,
        },
        h(
          "button",
          {
            class: "sort",
            "data-sort": sort,
            title: title || null,
            onclick: () =>
              this.#actions.sort({
                key: sort,
                descending: order.key === sort ? !order.descending : sort !== "name",
              }),
          },
          label,
          h(
            "span",
            { class: "sort-mark", "aria-hidden": "true" },
            order.key === sort ? (order.descending ? "↓" : "↑") : "",
          ),
        ),
      );
    fill(
      this.#head,
      h("div", { role: "columnheader" }, h("span", { class: "sr-only" }, "Selected")),
      column("name", "Slide"),
      column("suspicion", "Suspicion", "The highest of the pipelines' probabilities of cancer"),
      this.#pipelines.map((name) => column(`p:${name}`, pipelineTitle(name))),
      column("state", "State"),
      column("mpp", "Resolution"),
      column("size", "Size"),
      column("created", "Added"),
      h("div", { role: "columnheader" }, h("span", { class: "sr-only" }, "Actions")),
    );
    if (focused) {
      for (const button of this.#head.querySelectorAll<HTMLElement>("[data-sort]")) {
        if (button.dataset["sort"] === focused) button.focus();
      }
    }
  }

  #draw(): void {
    const [first, last] = visibleRows(
      this.element.scrollTop,
      this.element.clientHeight,
      ROW,
      this.#slides.length,
    );
    const wanted = new Map<string, number>();
    for (let i = first; i < last; i++) {
      const slide = this.#slides[i];
      if (slide) wanted.set(slide.id, i);
    }
    // The focused row stays, or the reader would lose their place.
    const focus = this.#slides.findIndex((slide) => slide.id === this.#focused);
    if (this.#focused && focus >= 0) wanted.set(this.#focused, focus);
    for (const [id, row] of this.#rows) {
      if (wanted.has(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    const tabStop = focus >= 0 ? this.#focused : (this.#slides[0]?.id ?? null);
    for (const [id, index] of wanted) {
      const slide = this.#slides[index];
      if (slide) this.#place(slide, index, id === tabStop);
    }
  }

  #place(slide: Slide, index: number, tabStop: boolean): void {
    const selected = this.#selected.has(slide.id);
    const key = JSON.stringify([slide, selected, this.#pipelines]);
    let row = this.#rows.get(slide.id);
    if (!row) {
      const element = h("div", { class: "slide-row", role: "row", "data-id": slide.id });
      element.addEventListener("focusin", () => {
        this.#focused = slide.id;
      });
      this.#space.append(element);
      row = { element, key: "" };
      this.#rows.set(slide.id, row);
    }
    if (row.key !== key) {
      this.#fillRow(row.element, slide, selected);
      row.key = key;
    }
    row.element.style.transform = `translateY(${index * ROW}px)`;
    row.element.setAttribute("aria-rowindex", String(index + 2));
    row.element.setAttribute("aria-selected", String(selected));
    row.element.tabIndex = tabStop ? 0 : -1;
  }

  #fillRow(row: HTMLElement, slide: Slide, selected: boolean): void {
    const focused = row.contains(document.activeElement)
      ? document.activeElement?.getAttribute("data-part")
      : undefined;
    const oldImage = row.querySelector("img");
    const cell = (name: string, ...content: readonly (Node | string | null)[]) =>
      h("div", { class: `cell ${name}`, role: "gridcell" }, [...content]);
    const box = h("input", {
      type: "checkbox",
      checked: selected,
      tabindex: -1,
      "data-part": "box",
      "aria-label": `Select ${slide.name}`,
      onchange: () => this.#select(slide, box.checked),
    });
    fill(
      row,
      cell("check", box),
      cell(
        "name",
        oldImage ?? thumbnail(slide),
        h(
          "div",
          { class: "name-text" },
          h("a", { href: `#/slides/${slide.id}`, tabindex: -1, "data-part": "link" }, slide.name),
          h(
            "span",
            { class: "quiet" },
            `${pixels(slide.width, slide.height)} px · ${slide.vendor}`,
          ),
        ),
      ),
      cell("suspicion", suspicionMeter(slide)),
      ...this.#pipelines.map((name) =>
        cell("score", scoreOf(slide.results.find((result) => result.pipeline === name))),
      ),
      cell("state", stateOf(slide)),
      cell(
        "mpp",
        slide.mpp === null
          ? h(
              "button",
              {
                class: "link warn",
                tabindex: -1,
                "data-part": "mpp",
                onclick: () => this.#actions.giveMpp(slide),
              },
              "Set resolution",
            )
          : mppText(slide.mpp),
      ),
      cell("size", bytes(slide.size_bytes)),
      cell("created", ago(slide.created_at, Date.now())),
      cell(
        "act",
        h(
          "button",
          {
            class: "button small",
            tabindex: -1,
            "data-part": "start",
            "aria-label": `Score ${slide.name}`,
            onclick: () => this.#actions.start(slide),
          },
          icon("play", 13),
          "Score",
        ),
      ),
    );
    if (focused) row.querySelector<HTMLElement>(`[data-part="${focused}"]`)?.focus();
    else if (focused === null) row.focus();
  }

  #select(slide: Slide, on: boolean): void {
    if (on) this.#selected.add(slide.id);
    else this.#selected.delete(slide.id);
    this.#actions.selected(this.selectedSlides().length);
    this.#draw();
  }

  // --- keyboard -----------------------------------------------------------------------------

  #onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const row = (event.target as HTMLElement).closest<HTMLElement>(".slide-row");
    if (!row) return;
    const at = this.#slides.findIndex((slide) => slide.id === row.dataset["id"]);
    const slide = this.#slides[at];
    if (!slide) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW) - 2);
    const moves: Readonly<Record<string, number>> = {
      ArrowDown: at + 1,
      j: at + 1,
      ArrowUp: at - 1,
      k: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: this.#slides.length - 1,
    };
    const to = moves[event.key];
    if (to !== undefined) this.#focusRow(to);
    else if (event.key === "Enter" && event.target === row) location.hash = `#/slides/${slide.id}`;
    else if (event.key === "x" || (event.key === " " && event.target === row)) {
      this.#select(slide, !this.#selected.has(slide.id));
    } else if (event.key === "g") this.#actions.start(slide);
    else return;
    event.preventDefault();
  }

  #focusRow(index: number): void {
    const to = Math.min(this.#slides.length - 1, Math.max(0, index));
    const slide = this.#slides[to];
    if (!slide) return;
    const top = to * ROW;
    const head = this.#head.offsetHeight;
    const view = this.element.clientHeight - head;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top + ROW > this.element.scrollTop + view) this.element.scrollTop = top + ROW - view;
    this.#focused = slide.id;
    this.#draw();
    this.#rows.get(slide.id)?.element.focus({ preventScroll: true });
  }
}

function thumbnail(slide: Slide): HTMLElement {
  return h("img", {
    src: thumbnailUrl(slide.id, 128),
    alt: "",
    width: 72,
    height: 52,
    loading: "lazy",
    decoding: "async",
    onerror: (event: Event) => (event.target as HTMLElement).classList.add("broken"),
  });
}

function suspicionMeter(slide: Slide): HTMLElement | string {
  const values = slide.results.map(suspicion).filter((value) => value !== null);
  if (values.length === 0) return "–";
  const value = Math.max(...values);
  const level = value >= 0.5 ? "high" : value >= 0.2 ? "middle" : "low";
  const bar = h("span", { class: "meter-fill" });
  bar.style.width = `${(value * 100).toFixed(1)}%`;
  return h(
    "div",
    { class: `meter ${level}` },
    h("strong", {}, percent(value)),
    h("span", { class: "meter-track", "aria-hidden": "true" }, bar),
  );
}

function scoreOf(result: ResultSummary | undefined): HTMLElement | string {
  if (!result) return "–";
  if (result.status === "QUEUED") return h("span", { class: "quiet" }, "waiting");
  if (result.status === "RUNNING") {
    const share = Math.round(result.progress * 100);
    return h(
      "div",
      { class: "score-progress" },
      h("progress", { max: 100, value: share, "aria-label": `${result.pipeline} progress` }),
      h("span", { class: "quiet" }, `${share} %`),
    );
  }
  if (result.status === "FAILED") {
    return h("span", { class: "failed", title: result.error }, "failed");
  }
  if (result.status === "CANCELLED") return h("span", { class: "quiet" }, "stopped");
  if (result.outcome === "no_tissue") return h("span", { class: "quiet" }, "no tissue");
  const value = suspicion(result);
  if (value === null) return "–";
  return h(
    "div",
    { class: "score-value", title: result.model },
    h("span", {}, percent(value)),
    h("span", { class: "quiet" }, suspiciousClass(result.classes)),
  );
}

const STATES = {
  unscored: "Not scored",
  running: "In progress",
  scored: "Scored",
  failed: "Failed",
} as const;

function stateOf(slide: Slide): HTMLElement {
  const state = slideState(slide);
  const failed = slide.results.find((result) => result.status === "FAILED");
  const running = slide.results.find((result) => result.status === "RUNNING");
  // The row says which slide it is; the reason need not say it again.
  const reason = failed?.error?.replace(`${slide.name}: `, "");
  const detail = state === "failed" ? reason : state === "running" ? running?.stage : null;
  return h(
    "div",
    { class: `state ${state}` },
    h("span", { class: "badge" }, STATES[state]),
    detail ? h("span", { class: "quiet detail", title: detail }, detail) : null,
  );
}

import "./table.css";
import type { Slide } from "../api/types";
import { pipelineTitle } from "../pure/format";
import { type Order, type SortKey, visibleRows } from "../pure/worklist";
import { isHidden } from "../reader";
import { fill, h, perFrame } from "../ui/dom";
import { rowCells } from "./cells";

/** The rows of the worklist. Only those in sight are in the document, so thousands stay fluid. */

const ROW = 68;

export interface TableActions {
  readonly sort: (order: Order) => void;
  /** How many rows are selected, and how many more that the search or filter hides. */
  readonly selected: (count: number, hidden: number) => void;
  readonly start: (slide: Slide) => void;
  readonly giveMpp: (slide: Slide) => void;
}

export interface TableContent {
  readonly slides: readonly Slide[];
  readonly pipelines: readonly string[];
  readonly order: Order;
  /** Why a slide of the chosen batch was refused, by its id. */
  readonly refusals: ReadonlyMap<string, string>;
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
  #refusals: ReadonlyMap<string, string> = new Map();
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

  show({ slides, pipelines, order, refusals }: TableContent): void {
    this.#slides = slides;
    this.#pipelines = pipelines;
    this.#refusals = refusals;
    this.element.setAttribute("aria-rowcount", String(slides.length + 1));
    // Not repeat(): it takes no 0, and without models and results there is no pipeline.
    const scores = pipelines.map(() => "var(--score-column)").join(" ");
    this.element.style.setProperty("--score-columns", scores);
    this.#space.style.height = `${slides.length * ROW}px`;
    this.#showHead(order);
    this.#tellSelected();
    this.#draw();
  }

  /** As it has another place or size in the page. */
  redraw(): void {
    this.#draw();
  }

  openFirst(): void {
    const first = this.#slides[0];
    if (first) location.hash = `#/slides/${first.id}`;
  }

  focusFirst(): void {
    this.#focusRow(0);
  }

  /** Where it is in the list: the reader comes back to the row that they left. */
  focusSlide(id: string): void {
    const at = this.#slides.findIndex((slide) => slide.id === id);
    if (at >= 0) this.#focusRow(at);
  }

  selectedSlides(): Slide[] {
    return this.#slides.filter((slide) => this.#selected.has(slide.id));
  }

  clearSelection(): void {
    this.#selected.clear();
    this.#tellSelected();
    this.#draw();
  }

  #tellSelected(): void {
    const count = this.selectedSlides().length;
    this.#actions.selected(count, this.#selected.size - count);
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
      column(
        "quality",
        "Quality",
        "Share of the tissue that is out of focus, folded or under pen marks",
      ),
      column("state", "State"),
      column("review", "Review"),
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
    const refusal = this.#refusals.get(slide.id) ?? null;
    const hidden = isHidden(slide.id, slide.review);
    const key = JSON.stringify([slide, selected, this.#pipelines, hidden, refusal]);
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
      this.#fillRow(row.element, slide, selected, hidden, refusal);
      row.key = key;
    }
    row.element.style.transform = `translateY(${index * ROW}px)`;
    row.element.setAttribute("aria-rowindex", String(index + 2));
    row.element.setAttribute("aria-selected", String(selected));
    row.element.tabIndex = tabStop ? 0 : -1;
  }

  #fillRow(
    row: HTMLElement,
    slide: Slide,
    selected: boolean,
    hidden: boolean,
    refusal: string | null,
  ): void {
    const focused = row.contains(document.activeElement)
      ? document.activeElement?.getAttribute("data-part")
      : undefined;
    const cells = rowCells(slide, this.#pipelines, {
      selected,
      hidden,
      refusal,
      image: row.querySelector("img"),
      select: (on) => this.#select(slide, on),
      start: () => this.#actions.start(slide),
      giveMpp: () => this.#actions.giveMpp(slide),
    });
    fill(row, cells);
    if (focused) row.querySelector<HTMLElement>(`[data-part="${focused}"]`)?.focus();
    else if (focused === null) row.focus();
  }

  #select(slide: Slide, on: boolean): void {
    if (on) this.#selected.add(slide.id);
    else this.#selected.delete(slide.id);
    this.#tellSelected();
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

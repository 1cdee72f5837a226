import "./table.css";
import { render } from "preact";
import type { Slide } from "../api/types";
import { pipelineTitle } from "../pure/format";
import { type Order, type SortKey, visibleRows } from "../pure/worklist";
import { isHidden } from "../reader";
import { h, perFrame } from "../ui/dom";
import { RowCells } from "./cells";

/** The rows of the worklist. Only those in sight are in the document, so thousands stay fluid. */

const ROW = 68;

const NO_ORDER: Order = { key: "name", descending: false };

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
  readonly #selected = new Set<string>();
  readonly #resize: ResizeObserver;
  #content: TableContent = { slides: [], pipelines: [], order: NO_ORDER, refusals: new Map() };
  /** Ids of the rows in the document. A row that stays is not moved, or it would lose the focus. */
  #drawn: readonly string[] = [];
  #focused: string | null = null;

  constructor(actions: TableActions) {
    this.#actions = actions;
    this.element = h("div", {
      class: "slide-table",
      role: "grid",
      "aria-label": "Slides",
      "aria-multiselectable": "true",
    });
    const draw = perFrame(() => this.#draw());
    this.element.addEventListener("scroll", draw, { passive: true });
    this.element.addEventListener("keydown", (event) => this.#onKey(event));
    this.#resize = new ResizeObserver(draw);
    this.#resize.observe(this.element);
  }

  destroy(): void {
    this.#resize.disconnect();
  }

  get #slides(): readonly Slide[] {
    return this.#content.slides;
  }

  show(content: TableContent): void {
    this.#content = content;
    const { slides, pipelines } = content;
    this.element.setAttribute("aria-rowcount", String(slides.length + 1));
    // Not repeat(): it takes no 0, and without models and results there is no pipeline.
    const scores = pipelines.map(() => "var(--score-column)").join(" ");
    this.element.style.setProperty("--score-columns", scores);
    this.#reportSelected();
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
    this.#reportSelected();
    this.#draw();
  }

  #reportSelected(): void {
    const count = this.selectedSlides().length;
    this.#actions.selected(count, this.#selected.size - count);
  }

  #draw(): void {
    const slides = this.#slides;
    const { scrollTop, clientHeight } = this.element;
    const [first, last] = visibleRows(scrollTop, clientHeight, ROW, slides.length);
    const wanted = new Map<string, number>();
    for (let i = first; i < last; i++) {
      const slide = slides[i];
      if (slide) wanted.set(slide.id, i);
    }
    // The focused row stays, or the reader would lose their place.
    const focus = slides.findIndex((slide) => slide.id === this.#focused);
    if (this.#focused && focus >= 0) wanted.set(this.#focused, focus);
    this.#drawn = [...new Set([...this.#drawn, ...wanted.keys()])].filter((id) => wanted.has(id));
    const tabStop = focus >= 0 ? this.#focused : (slides[0]?.id ?? null);
    render(
      <>
        <div role="rowgroup" class="head-group">
          <Head
            order={this.#content.order}
            pipelines={this.#content.pipelines}
            sort={this.#actions.sort}
          />
        </div>
        <div class="row-space" role="rowgroup" style={{ height: `${slides.length * ROW}px` }}>
          {this.#drawn.map((id) => this.#row(id, wanted.get(id) ?? 0, id === tabStop))}
        </div>
      </>,
      this.element,
    );
  }

  #row(id: string, index: number, isTabStop: boolean) {
    const slide = this.#slides[index];
    if (!slide) return null;
    const isSelected = this.#selected.has(id);
    return (
      <div
        key={id}
        class="slide-row"
        role="row"
        data-id={id}
        aria-rowindex={index + 2}
        aria-selected={isSelected}
        tabIndex={isTabStop ? 0 : -1}
        style={{ transform: `translateY(${index * ROW}px)` }}
        onFocusIn={() => {
          this.#focused = id;
        }}
      >
        <RowCells
          slide={slide}
          pipelines={this.#content.pipelines}
          isSelected={isSelected}
          isHidden={isHidden(id, slide.review)}
          refusal={this.#content.refusals.get(id) ?? null}
          select={(on) => this.#select(slide, on)}
          start={() => this.#actions.start(slide)}
          giveMpp={() => this.#actions.giveMpp(slide)}
        />
      </div>
    );
  }

  #select(slide: Slide, on: boolean): void {
    if (on) this.#selected.add(slide.id);
    else this.#selected.delete(slide.id);
    this.#reportSelected();
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
    const head = this.element.querySelector<HTMLElement>(".row-head")?.offsetHeight ?? 0;
    const view = this.element.clientHeight - head;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top + ROW > this.element.scrollTop + view) this.element.scrollTop = top + ROW - view;
    this.#focused = slide.id;
    this.#draw();
    const row = `[data-id="${CSS.escape(slide.id)}"]`;
    this.element.querySelector<HTMLElement>(row)?.focus({ preventScroll: true });
  }
}

interface HeadProps {
  readonly order: Order;
  readonly pipelines: readonly string[];
  readonly sort: (order: Order) => void;
}

function Head({ order, pipelines, sort }: HeadProps) {
  const column = (key: SortKey, label: string, title?: string) => (
    <Column key={key} sortKey={key} label={label} title={title} order={order} sort={sort} />
  );
  return (
    <div class="row-head" role="row" aria-rowindex={1}>
      <div role="columnheader">
        <span class="sr-only">Selected</span>
      </div>
      {column("name", "Slide")}
      {column("suspicion", "Suspicion", "The highest of the pipelines' probabilities of cancer")}
      {pipelines.map((name) => column(`p:${name}`, pipelineTitle(name)))}
      {column(
        "quality",
        "Quality",
        "Share of the tissue that is out of focus, folded or under pen marks",
      )}
      {column("state", "State")}
      {column("review", "Review")}
      {column("created", "Added")}
      <div role="columnheader">
        <span class="sr-only">Actions</span>
      </div>
    </div>
  );
}

interface ColumnProps {
  readonly sortKey: SortKey;
  readonly label: string;
  readonly title: string | undefined;
  readonly order: Order;
  readonly sort: (order: Order) => void;
}

function Column({ sortKey, label, title, order, sort }: ColumnProps) {
  const isSorted = order.key === sortKey;
  const descending = isSorted ? !order.descending : sortKey !== "name";
  return (
    <div
      role="columnheader"
      aria-sort={isSorted ? (order.descending ? "descending" : "ascending") : undefined}
    >
      <button
        type="button"
        class="sort"
        title={title}
        onClick={() => sort({ key: sortKey, descending })}
      >
        {label}
        <span class="sort-mark" aria-hidden="true">
          {isSorted ? (order.descending ? "↓" : "↑") : ""}
        </span>
      </button>
    </div>
  );
}

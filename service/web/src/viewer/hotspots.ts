import "./hotspots.css";
import type { Hotspot, SlideResult } from "../api/types";
import type { TileLayout } from "../pure/dzi";
import { pipelineTitle, scoreText } from "../pure/format";
import { outcomeWords } from "../pure/outcome";
import type { Decision, HotspotDecision } from "../pure/review";
import { areaText } from "../pure/scale";
import { fill, h, setText } from "../ui/dom";
import { icon } from "../ui/icons";
import { regionPicture } from "./picture";

const DECISIONS: readonly (readonly [Decision, string, string])[] = [
  ["agree", "Agree", "y"],
  ["disagree", "Disagree", "x"],
  ["unsure", "Unsure", "u"],
];

export interface HotspotActions {
  readonly choose: (index: number) => void;
  readonly decide: (index: number, decision: Decision) => void;
  readonly comment: (index: number, text: string) => void;
}

/** The most suspicious places, ranked, with a small picture of each and what was said of it. */
export class HotspotList {
  readonly element = h("div", { class: "hotspots" });
  readonly #actions: HotspotActions;
  #result: SlideResult | null = null;
  #seen = new Set<number>();
  #decided = 0;
  #current: number | null = null;
  #shown = "";

  constructor(actions: HotspotActions) {
    this.#actions = actions;
  }

  /** Show what readers recorded of each. */
  showRecords(
    of: (jobId: string, index: number) => HotspotDecision | undefined,
    locked: boolean,
  ): void {
    const jobId = this.#result?.job_id ?? "";
    this.#decided = 0;
    this.spots.forEach((_, index) => {
      const record = of(jobId, index);
      if (record?.decision) this.#decided += 1;
      if (record?.seen || record?.decision) this.#seen.add(index);
      const item = this.element.querySelector<HTMLElement>(`li[data-index="${index}"]`);
      if (item) showRecord(item, record, locked, index === this.#current);
    });
    this.#mark();
  }

  /** Put the cursor into the comment on the current hotspot. */
  focusComment(): void {
    this.element.querySelector<HTMLElement>(".spot-comment:not([hidden]):not(:disabled)")?.focus();
  }

  get spots(): readonly Hotspot[] {
    return this.#result?.hotspots ?? [];
  }

  show(result: SlideResult | null, current: number | null, layout: TileLayout | null): void {
    if (result?.job_id !== this.#result?.job_id) this.#seen = new Set();
    this.#result = result;
    const moved = current !== this.#current;
    this.#current = current;
    const shown = `${result?.job_id}/${layout !== null}`;
    if (shown === this.#shown) this.#mark();
    else {
      this.#shown = shown;
      this.#build(layout);
    }
    // Only when the reader goes there: else it would move away what they read or write.
    if (moved) {
      this.element.querySelector("li:has([aria-current])")?.scrollIntoView({ block: "nearest" });
    }
  }

  markSeen(index: number): void {
    this.#seen.add(index);
    this.#mark();
  }

  #build(layout: TileLayout | null): void {
    const result = this.#result;
    if (!result) {
      fill(this.element, h("p", { class: "quiet" }, "Hotspots appear once the slide is scored."));
      return;
    }
    const { hotspots } = result;
    const header = h(
      "div",
      { class: "row hotspot-head" },
      h("span", { class: "quiet hotspot-count" }),
      h("span", { class: "keys" }, h("kbd", {}, "n"), " next ", h("kbd", {}, "p"), " back"),
    );
    if (hotspots.length === 0) {
      fill(
        this.element,
        h(
          "p",
          { class: "quiet" },
          outcomeWords(result.outcome) === null
            ? `The ${pipelineTitle(result.pipeline).toLowerCase()} pipeline found no suspicious area.`
            : "Nothing was scored on this slide, so there are no hotspots to look at.",
        ),
      );
      return;
    }
    fill(
      this.element,
      header,
      cutText(result),
      h(
        "ol",
        { class: "hotspot-list", "aria-label": "Hotspots, most suspicious first" },
        hotspots.map((spot, index) => this.#item(spot, index, layout)),
      ),
    );
    this.#mark();
  }

  #item(spot: Hotspot, index: number, layout: TileLayout | null): HTMLElement {
    const picture = h("canvas", {
      width: 112,
      height: 112,
      class: "spot-picture",
      "aria-hidden": "true",
    });
    if (layout) regionPicture(picture, this.#result?.slide_id ?? "", layout, spot);
    return h(
      "li",
      { "data-index": index },
      h(
        "button",
        {
          type: "button",
          class: "hotspot",
          "data-index": index,
          onclick: () => this.#actions.choose(index),
        },
        picture,
        h(
          "span",
          { class: "spot-text" },
          h("strong", {}, `${index + 1}. ${spot.class_name}`),
          h("span", {}, `peak ${scoreText(spot.score)} · mean ${scoreText(spot.mean_score)}`),
          h("span", { class: "quiet" }, areaText(spot.area_um2)),
        ),
        h("span", { class: "seen" }, icon("check", 14), "seen"),
      ),
      this.#decisions(index),
      this.#comment(index),
    );
  }

  #comment(index: number): HTMLElement {
    const field = h("input", {
      type: "text",
      class: "spot-comment",
      hidden: true,
      maxlength: 4000,
      placeholder: "Comment (m)",
      "aria-label": `Comment on hotspot ${index + 1}`,
      oninput: () => this.#actions.comment(index, field.value),
      onkeydown: (event: Event) => {
        // Back to the slide, where the keys work.
        if (["Enter", "Escape"].includes((event as KeyboardEvent).key)) {
          event.preventDefault();
          event.stopPropagation();
          field.blur();
        }
      },
    });
    return field;
  }

  #decisions(index: number): HTMLElement {
    return h(
      "div",
      {
        class: "decide segments",
        role: "group",
        "aria-label": `Decision on hotspot ${index + 1}`,
        "data-index": index,
      },
      DECISIONS.map(([decision, label, key]) =>
        h(
          "button",
          {
            type: "button",
            "aria-pressed": "false",
            "data-decision": decision,
            title: `${label} (${key}); with Shift, also go to the next`,
            onclick: () => this.#actions.decide(index, decision),
          },
          label,
        ),
      ),
    );
  }

  #mark(): void {
    for (const button of this.element.querySelectorAll<HTMLElement>(".hotspot")) {
      const index = Number(button.dataset["index"]);
      const current = index === this.#current;
      button.classList.toggle("is-seen", this.#seen.has(index));
      if (current) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    const count = this.element.querySelector(".hotspot-count");
    if (!count) return;
    const seen = `${this.#seen.size} of ${this.spots.length} seen`;
    setText(count, this.#decided === 0 ? seen : `${seen} · ${this.#decided} decided`);
  }
}

/** What the list leaves out. */
function cutText({ hotspots, hotspot_total: total }: SlideResult): HTMLElement | null {
  const count = hotspots.length;
  // Results that did not count them ended at 50 as well.
  if (total === null ? count < 50 : total <= count) return null;
  const text =
    total === null ? `The first ${count}; there may be more.` : `The first ${count} of ${total}.`;
  return h("p", { class: "hotspot-cut" }, text);
}

function showRecord(
  item: HTMLElement,
  record: HotspotDecision | undefined,
  locked: boolean,
  isCurrent: boolean,
): void {
  for (const button of item.querySelectorAll<HTMLButtonElement>(".decide button")) {
    const pressed = button.dataset["decision"] === (record?.decision ?? null);
    button.setAttribute("aria-pressed", String(pressed));
    button.disabled = locked;
  }
  const field = item.querySelector<HTMLInputElement>(".spot-comment");
  if (!field) return;
  // While the reader types, what comes back from the service is older than the field.
  if (document.activeElement !== field) field.value = record?.comment ?? "";
  field.disabled = locked;
  field.hidden = !isCurrent && field.value === "" && document.activeElement !== field;
}

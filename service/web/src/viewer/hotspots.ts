import type { Hotspot, SlideResult } from "../api/types";
import type { TileLayout } from "../pure/dzi";
import { pipelineTitle } from "../pure/format";
import type { Decision } from "../pure/review";
import { areaText } from "../pure/scale";
import { recall, remember } from "../settings";
import { fill, h } from "../ui/dom";
import { icon } from "../ui/icons";
import { regionPicture } from "./picture";

const DECISIONS: readonly (readonly [Decision, string, string])[] = [
  ["agree", "Agree", "y"],
  ["disagree", "Disagree", "x"],
  ["unsure", "Unsure", "u"],
];

/** The most suspicious places, ranked, with a small picture of each and whether it was looked at. */
export class HotspotList {
  readonly element = h("div", { class: "hotspots" });
  readonly #choose: (index: number) => void;
  readonly #decide: (index: number, decision: Decision) => void;
  #result: SlideResult | null = null;
  #seen = new Set<number>();
  #current: number | null = null;
  #shown = "";

  constructor(
    choose: (index: number) => void,
    decide: (index: number, decision: Decision) => void,
  ) {
    this.#choose = choose;
    this.#decide = decide;
  }

  /** Show what the reader decided of each. */
  showDecisions(of: (jobId: string, index: number) => Decision | null, locked: boolean): void {
    const jobId = this.#result?.job_id ?? "";
    for (const group of this.element.querySelectorAll<HTMLElement>(".decide")) {
      const decision = of(jobId, Number(group.dataset["index"]));
      for (const button of group.querySelectorAll<HTMLButtonElement>("button")) {
        button.setAttribute("aria-pressed", String(button.dataset["decision"] === decision));
        button.disabled = locked;
      }
    }
  }

  get spots(): readonly Hotspot[] {
    return this.#result?.hotspots ?? [];
  }

  show(result: SlideResult | null, current: number | null, layout: TileLayout | null): void {
    this.#result = result;
    this.#current = current;
    this.#seen = new Set(parseSeen(recall(this.#key())));
    const shown = `${result?.job_id}/${layout !== null}`;
    if (shown === this.#shown) this.#mark();
    else {
      this.#shown = shown;
      this.#build(layout);
    }
  }

  markSeen(index: number): void {
    this.#seen.add(index);
    remember(this.#key(), [...this.#seen]);
    this.#mark();
  }

  #key(): string {
    return `wholeslide.seen.${this.#result?.job_id}`;
  }

  #build(layout: TileLayout | null): void {
    const result = this.#result;
    if (!result) {
      fill(this.element, h("p", { class: "quiet" }, "Hotspots appear when the slide is scored."));
      return;
    }
    const { hotspots } = result;
    const header = h(
      "div",
      { class: "row" },
      h("span", { class: "quiet hotspot-count" }),
      h("span", { class: "keys" }, h("kbd", {}, "n"), " next · ", h("kbd", {}, "p"), " previous"),
    );
    if (hotspots.length === 0) {
      fill(
        this.element,
        h(
          "p",
          { class: "quiet" },
          `The ${pipelineTitle(result.pipeline).toLowerCase()} pipeline found no area of high score.`,
        ),
      );
      return;
    }
    fill(
      this.element,
      header,
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
      {},
      h(
        "button",
        {
          type: "button",
          class: "hotspot",
          "data-index": index,
          onclick: () => this.#choose(index),
        },
        picture,
        h(
          "span",
          { class: "spot-text" },
          h("strong", {}, `${index + 1}. ${spot.class_name}`),
          h("span", {}, `peak ${spot.score.toFixed(2)} · mean ${spot.mean_score.toFixed(2)}`),
          h("span", { class: "quiet" }, areaText(spot.area_um2)),
        ),
        h("span", { class: "seen" }, icon("check", 14), "seen"),
      ),
      this.#decisions(index),
    );
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
            title: `${label} (${key})`,
            onclick: () => this.#decide(index, decision),
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
      if (current) button.scrollIntoView({ block: "nearest" });
    }
    const count = this.element.querySelector(".hotspot-count");
    if (count) count.textContent = `${this.#seen.size} of ${this.spots.length} seen`;
  }
}

export function parseSeen(text: string | null): number[] {
  if (text === null) return [];
  try {
    const data: unknown = JSON.parse(text);
    return Array.isArray(data) ? data.filter((n): n is number => Number.isInteger(n)) : [];
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return [];
  }
}

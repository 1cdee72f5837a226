import "./hotspots.css";
import { type ComponentChildren, render } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Decision, Hotspot, HotspotDecision, SlideResult } from "../api/types";
import type { TileLayout } from "../pure/dzi";
import { pipelineTitle, scoreText } from "../pure/format";
import { outcomeWords } from "../pure/outcome";
import { areaText } from "../pure/scale";
import { h } from "../ui/dom";
import { Icon } from "../ui/icons";
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

type RecordOf = (jobId: string, index: number) => HotspotDecision | undefined;

/** The most suspicious places, ranked, with a small picture of each and what was said of it. */
export class HotspotList {
  readonly element = h("div", { class: "hotspots" });
  readonly #actions: HotspotActions;
  #result: SlideResult | null = null;
  #layout: TileLayout | null = null;
  #seen = new Set<number>();
  #current: number | null = null;
  #recordOf: RecordOf = () => undefined;
  #isLocked = false;

  constructor(actions: HotspotActions) {
    this.#actions = actions;
  }

  /** Show what readers recorded of each. */
  showRecords(recordOf: RecordOf, isLocked: boolean): void {
    this.#recordOf = recordOf;
    this.#isLocked = isLocked;
    this.#render();
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
    const moved = current !== this.#current;
    this.#result = result;
    this.#current = current;
    this.#layout = layout;
    this.#render();
    // Only when the reader goes there: else it would move away what they read or write.
    if (moved) {
      this.element.querySelector("li:has([aria-current])")?.scrollIntoView({ block: "nearest" });
    }
  }

  markSeen(index: number): void {
    this.#seen.add(index);
    this.#render();
  }

  #render(): void {
    render(this.#content(), this.element);
  }

  #content(): ComponentChildren {
    const result = this.#result;
    if (!result) return <p class="quiet">Hotspots appear once the slide is scored.</p>;
    if (result.hotspots.length === 0) return <p class="quiet">{noneText(result)}</p>;
    const records = this.spots.map((_, index) => this.#recordOf(result.job_id, index));
    records.forEach((record, index) => {
      if (record?.seen || record?.decision) this.#seen.add(index);
    });
    const decided = records.filter((record) => record?.decision).length;
    const seen = `${this.#seen.size} of ${this.spots.length} seen`;
    return (
      <>
        <div class="row hotspot-head">
          <span class="quiet hotspot-count">
            {decided === 0 ? seen : `${seen} · ${decided} decided`}
          </span>
          <span class="keys">
            <kbd>n</kbd> next <kbd>p</kbd> back
          </span>
        </div>
        <CutText result={result} />
        <ol class="hotspot-list" aria-label="Hotspots, most suspicious first">
          {this.spots.map((spot, index) => (
            <Spot
              key={`${result.job_id}/${index}`}
              spot={spot}
              index={index}
              slideId={result.slide_id}
              layout={this.#layout}
              record={records[index]}
              isSeen={this.#seen.has(index)}
              isCurrent={index === this.#current}
              isLocked={this.#isLocked}
              actions={this.#actions}
            />
          ))}
        </ol>
      </>
    );
  }
}

interface SpotProps {
  readonly spot: Hotspot;
  readonly index: number;
  readonly slideId: string;
  readonly layout: TileLayout | null;
  readonly record: HotspotDecision | undefined;
  readonly isSeen: boolean;
  readonly isCurrent: boolean;
  readonly isLocked: boolean;
  readonly actions: HotspotActions;
}

function Spot(props: SpotProps) {
  const { spot, index, slideId, layout, isSeen, isCurrent, actions } = props;
  return (
    <li data-index={index}>
      <button
        type="button"
        class={isSeen ? "hotspot is-seen" : "hotspot"}
        aria-current={isCurrent ? "true" : undefined}
        onClick={() => actions.choose(index)}
      >
        <SpotPicture slideId={slideId} layout={layout} spot={spot} />
        <span class="spot-text">
          <strong>{`${index + 1}. ${spot.class_name}`}</strong>
          <span>{`peak ${scoreText(spot.score)} · mean ${scoreText(spot.mean_score)}`}</span>
          <span class="quiet">{areaText(spot.area_um2)}</span>
        </span>
        <span class="seen">
          <Icon name="check" size={14} />
          seen
        </span>
      </button>
      <Decisions {...props} />
      <Comment {...props} />
    </li>
  );
}

function SpotPicture({ slideId, layout, spot }: Pick<SpotProps, "slideId" | "layout" | "spot">) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    if (canvas.current && layout) regionPicture(canvas.current, slideId, layout, spot);
  }, [slideId, layout, spot]);
  return <canvas ref={canvas} width={112} height={112} class="spot-picture" aria-hidden="true" />;
}

function Decisions({ index, record, isLocked, actions }: SpotProps) {
  return (
    <div class="decide segments" role="group" aria-label={`Decision on hotspot ${index + 1}`}>
      {DECISIONS.map(([decision, label, key]) => (
        <button
          key={decision}
          type="button"
          aria-pressed={record?.decision === decision}
          disabled={isLocked}
          title={`${label} (${key}); with Shift, also go to the next`}
          onClick={() => actions.decide(index, decision)}
        >
          {label}
        </button>
      ))}
    </div>
  );
}

function Comment({ index, record, isCurrent, isLocked, actions }: SpotProps) {
  const input = useRef<HTMLInputElement>(null);
  const field = input.current;
  // While the reader types, what comes back from the service is older than the field.
  const isTyping = field !== null && field === document.activeElement;
  const text = isTyping ? field.value : (record?.comment ?? "");
  return (
    <input
      ref={input}
      type="text"
      class="spot-comment"
      hidden={!isCurrent && text === "" && !isTyping}
      disabled={isLocked}
      maxLength={4000}
      placeholder="Comment (m)"
      aria-label={`Comment on hotspot ${index + 1}`}
      value={text}
      onInput={(event) => actions.comment(index, event.currentTarget.value)}
      onKeyDown={(event) => {
        // Back to the slide, where the keys work.
        if (!["Enter", "Escape"].includes(event.key)) return;
        event.preventDefault();
        event.stopPropagation();
        event.currentTarget.blur();
      }}
    />
  );
}

function noneText(result: SlideResult): string {
  return outcomeWords(result.outcome) === null
    ? `The ${pipelineTitle(result.pipeline).toLowerCase()} pipeline found no suspicious area.`
    : "Nothing was scored on this slide, so there are no hotspots to look at.";
}

/** What the list leaves out. */
function CutText({ result }: { result: SlideResult }) {
  const { hotspot_total: total } = result;
  const count = result.hotspots.length;
  // Results that did not count them ended at 50 as well.
  if (total === null ? count < 50 : total <= count) return null;
  const text =
    total === null ? `The first ${count}; there may be more.` : `The first ${count} of ${total}.`;
  return <p class="hotspot-cut">{text}</p>;
}

import { render } from "preact";
import type { Job, SlideResult } from "../api/types";
import { counterparts } from "../pure/overlap";
import { type HotspotDecision, type HotspotMark, recordOf, spotKey } from "../pure/review";
import { mayReview } from "../reader";
import { h } from "../ui/dom";
import { Icon } from "../ui/icons";
import type { ReviewStore } from "./reviewstore";
import { hotspotResult, type ViewerState } from "./state";

export interface EarlierActions {
  readonly read: (jobId: string) => Promise<SlideResult | null>;
  readonly showRun: (jobId: string) => void;
}

/**
 * Decisions on the hotspots of an earlier run of the same pipeline. They stay with that run, one
 * click away, and move to the run that is shown where outlines are the same place.
 */
export class EarlierDecisions {
  readonly element = h("div", { class: "earlier-decisions", role: "status", hidden: true });
  readonly #state: ViewerState;
  readonly #store: ReviewStore;
  readonly #actions: EarlierActions;
  readonly #known = new Map<string, Map<number, number>>();

  constructor(state: ViewerState, store: ReviewStore, actions: EarlierActions) {
    this.#state = state;
    this.#store = store;
    this.#actions = actions;
  }

  show(): void {
    const content = this.#content();
    this.element.hidden = content === null;
    render(content, this.element);
  }

  #content() {
    const now = hotspotResult(this.#state);
    const found = now && this.#find(now);
    if (!now || !found) return null;
    const { job, records } = found;
    const old = this.#state.results.get(job.id);
    // Its outlines are needed to say which of them move.
    if (!old) void this.#actions.read(job.id).then((result) => result && this.show());
    const moves = old ? this.#moves(old, now, records) : new Map<string, HotspotMark>();
    const left = records.filter((record) => !this.#isMoved(old, now, record));
    if (left.length === 0) return null;
    const count = left.length;
    const when = job.finished_at ? `, ${new Date(job.finished_at).toLocaleString()}` : "";
    const text = `${count} ${count === 1 ? "decision belongs" : "decisions belong"} to an earlier run (${job.model}${when}).`;
    const move = () => this.#store.change({ hotspots: Object.fromEntries(moves) });
    return (
      <>
        <p class="warning">
          <Icon name="alert" size={15} />
          {text}
        </p>
        <div class="row">
          <button type="button" class="button small" onClick={() => this.#actions.showRun(job.id)}>
            Show that run
          </button>
          {moves.size > 0 && (
            <button type="button" class="button small" onClick={move}>
              {`Take over ${moves.size} that overlap`}
            </button>
          )}
        </div>
      </>
    );
  }

  /** The newest earlier run of this pipeline that something was said of. */
  #find(now: SlideResult): { job: Job; records: HotspotDecision[] } | null {
    if (this.#store.saved.status === "signed" || !mayReview()) return null;
    const jobs = this.#state.finished.filter(
      ({ id, pipeline }) => pipeline === now.pipeline && id !== now.job_id,
    );
    const newer = this.#state.finished.findIndex(({ id }) => id === now.job_id);
    for (const job of jobs) {
      if (this.#state.finished.indexOf(job) < newer) continue;
      const records = this.#store.current.hotspots.filter(
        ({ job_id, decision, comment }) =>
          job_id === job.id && (decision !== null || comment !== ""),
      );
      if (records.length > 0) return { job, records };
    }
    return null;
  }

  /** What to record of the run that is shown; nothing where something was said of it already. */
  #moves(
    old: SlideResult,
    now: SlideResult,
    records: readonly HotspotDecision[],
  ): Map<string, HotspotMark> {
    const pairs = this.#pairs(old, now);
    const moves = new Map<string, HotspotMark>();
    for (const { index, decision, comment } of records) {
      const to = pairs.get(index);
      if (to === undefined || this.#said(now, to)) continue;
      moves.set(spotKey(now.job_id, to), { decision, comment, seen: true });
    }
    return moves;
  }

  #pairs(old: SlideResult, now: SlideResult): Map<number, number> {
    const key = `${old.job_id}/${now.job_id}`;
    const found = this.#known.get(key) ?? counterparts(old.hotspots, now.hotspots);
    this.#known.set(key, found);
    return found;
  }

  #isMoved(old: SlideResult | undefined, now: SlideResult, record: HotspotDecision): boolean {
    const to = old && this.#pairs(old, now).get(record.index);
    return to !== undefined && this.#said(now, to);
  }

  #said(now: SlideResult, index: number): boolean {
    const record = recordOf(this.#store.current, now.job_id, index);
    return record !== undefined && (record.decision !== null || record.comment !== "");
  }
}

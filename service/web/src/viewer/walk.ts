import type { Decision } from "../pure/review";
import { toast } from "../ui/notice";
import type { HotspotList } from "./hotspots";
import type { Marks } from "./marks";
import type { Stage } from "./stage";
import { hotspotResult, type ViewerState } from "./state";

/** The way through the hotspots: one after the other, deciding on each. */
export class HotspotWalk {
  readonly #state: ViewerState;
  readonly #stage: Stage;
  readonly #list: HotspotList;
  readonly #marks: Marks;
  readonly #moved: () => void;

  constructor(
    state: ViewerState,
    stage: Stage,
    list: HotspotList,
    marks: Marks,
    moved: () => void,
  ) {
    this.#state = state;
    this.#stage = stage;
    this.#list = list;
    this.#marks = marks;
    this.#moved = moved;
  }

  goTo(index: number): void {
    const spot = this.#list.spots[index];
    if (!spot) return;
    this.#state.hotspot = index;
    this.#stage.showHotspot(spot);
    this.#moved();
    this.#list.markSeen(index);
    this.#marks.see(index);
    this.#stage.redraw();
  }

  /** The next or previous one; after the last comes the first. */
  step(step: 1 | -1): void {
    const count = this.#list.spots.length;
    if (count === 0) return;
    const at = this.#state.hotspot;
    this.goTo(at === null ? (step === 1 ? 0 : count - 1) : (at + step + count) % count);
  }

  decide(decision: Decision): void {
    if (this.#state.hotspot !== null) this.#marks.decide(this.#state.hotspot, decision);
  }

  /** Decide, and on to the next that nothing was said of: many hotspots, one key each. */
  decideAndGoOn(decision: Decision): void {
    const at = this.#state.hotspot;
    // Nothing is looked at yet: nothing to decide, so go and look.
    if (at !== null && !this.#marks.setDecision(at, decision)) return;
    const count = this.#list.spots.length;
    const jobId = hotspotResult(this.#state)?.job_id ?? "";
    for (let ahead = at === null ? 0 : 1; ahead <= count; ahead++) {
      const index = ((at ?? 0) + ahead) % count;
      if (!this.#marks.of(jobId, index)?.decision) {
        this.goTo(index);
        return;
      }
    }
    if (count > 0) toast("All hotspots are decided. Press E to sign off.");
  }
}

import { type Decision, type HotspotDecision, recordOf, spotKey } from "../pure/review";
import { mayReview } from "../reader";
import { toast } from "../ui/notice";
import type { ReviewStore } from "./reviewstore";
import { hotspotResult, type ViewerState } from "./state";

/** What the reader records of the hotspots that are listed. */
export class Marks {
  readonly #state: ViewerState;
  readonly #store: ReviewStore;

  constructor(state: ViewerState, store: ReviewStore) {
    this.#state = state;
    this.#store = store;
  }

  /** Nothing can be recorded any more. */
  get locked(): boolean {
    return this.#store.saved.status === "signed";
  }

  readonly of = (jobId: string, index: number): HotspotDecision | undefined =>
    recordOf(this.#store.current, jobId, index);

  /** Agree, disagree, unsure; the same again takes it back. */
  decide(index: number, decision: Decision): void {
    const jobId = hotspotResult(this.#state)?.job_id;
    if (!jobId) return;
    const before = this.of(jobId, index)?.decision;
    this.#put(jobId, index, before === decision ? null : decision);
  }

  /** Agree, disagree, unsure, whatever was said before. False where nothing can be recorded. */
  setDecision(index: number, decision: Decision): boolean {
    const jobId = hotspotResult(this.#state)?.job_id;
    return jobId !== undefined && this.#put(jobId, index, decision);
  }

  #put(jobId: string, index: number, decision: Decision | null): boolean {
    if (this.locked) {
      toast("This review is signed. Amend it to change the diagnosis.");
      return false;
    }
    this.#store.change({ hotspots: { [spotKey(jobId, index)]: { decision, seen: true } } });
    return true;
  }

  comment(index: number, comment: string): void {
    const jobId = hotspotResult(this.#state)?.job_id;
    if (jobId) this.#store.type({ hotspots: { [spotKey(jobId, index)]: { comment, seen: true } } });
  }

  /** Others see what was looked at, unless the review is closed or the reader may only look. */
  see(index: number): void {
    const jobId = hotspotResult(this.#state)?.job_id;
    if (!jobId || this.locked || !mayReview() || this.of(jobId, index)?.seen) return;
    this.#store.see(spotKey(jobId, index));
  }
}

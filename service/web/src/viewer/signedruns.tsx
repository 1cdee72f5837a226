import { render } from "preact";
import type { Job, SlideResult } from "../api/types";
import { pipelineTitle } from "../pure/format";
import type { Review } from "../pure/review";
import { h } from "../ui/dom";
import { Icon } from "../ui/icons";
import { firstChoice, type LayerChoice } from "./choice";
import { newestResults, runsSinceSigned, type ViewerState } from "./state";

export interface SignedRunsActions {
  readonly read: (jobId: string) => Promise<SlideResult | null>;
  readonly choose: (view: 0 | 1, choice: LayerChoice | null) => Promise<void>;
  /** Both views are filled: show them side by side. */
  readonly compare: () => void;
  /** Other runs count than before. */
  readonly changed: () => void;
}

/** A signed slide shows the runs that were signed, whatever was scored since, and says so. */
export class SignedRuns {
  readonly banner = h("div", { class: "run-banner", role: "status", hidden: true });
  readonly #state: ViewerState;
  readonly #actions: SignedRunsActions;

  constructor(state: ViewerState, actions: SignedRunsActions) {
    this.#state = state;
    this.#actions = actions;
  }

  /** The review as it is saved now. */
  async follow({ status, runs }: Review): Promise<void> {
    const ids = status === "signed" ? runs.map(({ job_id }) => job_id) : null;
    const before = this.#state.signedRuns;
    const same = ids === null ? before === null : !!before && ids.join() === [...before].join();
    if (same) return;
    this.#state.signedRuns = ids === null ? null : new Set(ids);
    this.#state.newer = false;
    for (const id of ids ?? []) await this.#actions.read(id);
    await this.#show();
  }

  showBanner(): void {
    const later = runsSinceSigned(this.#state);
    this.banner.hidden = later.length === 0 || this.#state.hidden;
    render(this.banner.hidden ? null : this.#content(later), this.banner);
  }

  #content(later: readonly Job[]) {
    const state = this.#state;
    const first = later[0];
    const toggle = () => {
      state.newer = !state.newer;
      void this.#show();
    };
    return (
      <>
        <p class="warning">
          <Icon name="alert" size={15} />
          {state.newer
            ? "This is a newer run than the one that was signed. The report shows the signed one."
            : `A newer run exists: ${later.map(runText).join("; ")}. Shown is the run that was signed.`}
        </p>
        <div class="row">
          {first && !state.newer && (
            <button type="button" class="button small" onClick={() => void this.#compare(first)}>
              Compare
            </button>
          )}
          <button key="toggle" type="button" class="button small" onClick={toggle}>
            {state.newer ? "Show the signed run" : "Show the newer run"}
          </button>
        </div>
      </>
    );
  }

  /** Maps and hotspots of the runs that count. */
  async #show(): Promise<void> {
    const [first, second] = newestResults(this.#state);
    const { choices, mode } = this.#state;
    if (choices[0]?.jobId !== first?.job_id) {
      await this.#actions.choose(0, first ? firstChoice(first) : null);
    }
    if (mode === "single" || choices[1] === null) {
      await this.#actions.choose(1, second ? firstChoice(second) : null);
    }
    this.#actions.changed();
  }

  /** The run that was signed beside the one that came later. */
  async #compare(later: Job): Promise<void> {
    const signed = newestResults(this.#state).find((r) => r.pipeline === later.pipeline);
    const now = await this.#actions.read(later.id);
    if (!now) return;
    if (signed) await this.#actions.choose(0, firstChoice(signed));
    await this.#actions.choose(1, firstChoice(now));
    this.#actions.compare();
  }
}

function runText(job: Job): string {
  const when = job.finished_at ? `, ${new Date(job.finished_at).toLocaleString()}` : "";
  return `${pipelineTitle(job.pipeline).toLowerCase()} (${job.model}${when})`;
}

import {
  ApiError,
  cancelJob,
  followJob,
  getResult,
  isTransient,
  listJobs,
  messageOf,
  pause,
  startJob,
} from "../api/client";
import { isFinal, type Job, type Slide, type SlideResult } from "../api/types";
import { pipelineTitle } from "../pure/format";
import { toast } from "../ui/notice";
import { askResolution } from "../ui/resolution";
import type { ViewerState } from "./state";

export interface JobEvents {
  /** A job moved. */
  readonly moved: () => void;
  /** A result came, or could not be had. */
  readonly result: () => Promise<void>;
  /** The reader gave the slide's resolution. */
  readonly mpp: (slide: Slide) => void;
}

const POLL_INTERVAL_MS = 5000;

/** The jobs of one slide: started, watched, stopped; their results fetched when they are there. */
export class SlideJobs {
  readonly #state: ViewerState;
  readonly #signal: AbortSignal;
  readonly #events: JobEvents;

  constructor(state: ViewerState, signal: AbortSignal, events: JobEvents) {
    this.#state = state;
    this.#signal = signal;
    this.#events = events;
  }

  async load(): Promise<void> {
    const { jobs, slide } = this.#state;
    const { items } = await listJobs(`slide_id=${slide.id}&limit=1000`);
    // Newest first: the first of each pipeline counts.
    for (const job of items) if (!jobs.has(job.pipeline)) jobs.set(job.pipeline, job);
    this.#state.finished = items.filter((job) => job.status === "SUCCEEDED");
    this.#events.moved();
    const { finished, signedRuns } = this.#state;
    const wanted = new Set(finished.filter((job) => signedRuns?.has(job.id)));
    for (const [pipeline, job] of jobs) {
      if (!isFinal(job.status)) this.#follow(job);
      // The last result stays in sight while a newer job runs or after it failed.
      const done = finished.find((j) => j.pipeline === pipeline);
      if (done) wanted.add(done);
    }
    await Promise.all([...wanted].map((job) => this.#loadResult(job)));
  }

  /** Runs that somebody else starts are heard of as well: nobody signs beside a newer result. */
  async watch(): Promise<void> {
    while (!this.#signal.aborted) {
      await pause(POLL_INTERVAL_MS, this.#signal);
      if (this.#signal.aborted) return;
      try {
        await this.look();
      } catch (error) {
        if (!isTransient(error)) throw error;
      }
    }
  }

  /** Hear of runs that came since. */
  async look(): Promise<void> {
    const { jobs, finished, slide } = this.#state;
    const { items } = await listJobs(`slide_id=${slide.id}&limit=20`);
    const seen = new Set<string>();
    for (const job of items) {
      if (seen.has(job.pipeline)) continue;
      seen.add(job.pipeline);
      if (jobs.get(job.pipeline)?.id === job.id) continue;
      jobs.set(job.pipeline, job);
      if (!isFinal(job.status)) this.#follow(job);
      else if (job.status === "SUCCEEDED" && !finished.some(({ id }) => id === job.id)) {
        this.#state.finished = [job, ...this.#state.finished];
        await this.#loadResult(job);
      }
      this.#events.moved();
    }
  }

  async start(pipeline: string, model: string | null = null): Promise<void> {
    try {
      const job = await startJob(this.#state.slide.id, pipeline, model);
      this.#state.jobs.set(pipeline, job);
      this.#follow(job);
      this.#events.moved();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.kind !== "mpp") toast(error.message, "error");
      else if (await this.giveMpp()) await this.start(pipeline, model);
    }
  }

  /** An earlier result of the slide; null where it could not be had. */
  async read(jobId: string): Promise<SlideResult | null> {
    const job = this.#state.finished.find(({ id }) => id === jobId);
    if (job && !this.#state.results.has(jobId)) await this.#loadResult(job);
    return this.#state.results.get(jobId) ?? null;
  }

  async cancel(job: Job): Promise<void> {
    try {
      this.#state.jobs.set(job.pipeline, await cancelJob(job.id));
      this.#events.moved();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, "error");
    }
  }

  /** Ask for the slide's resolution; returns whether it is known now. */
  async giveMpp(): Promise<boolean> {
    const [changed] = await askResolution([this.#state.slide]);
    if (!changed) return false;
    this.#state.slide = changed;
    this.#events.mpp(changed);
    return true;
  }

  /** What could not be read of the slide; not over another one that was opened meanwhile. */
  reportError(problem: string): void {
    if (!this.#signal.aborted) toast(problem, "error");
  }

  #follow(job: Job): void {
    const onChange = (now: Job) => {
      const before = this.#state.jobs.get(job.pipeline);
      // A newer job of this pipeline has taken its place.
      if (before && before.id !== now.id) return;
      this.#state.jobs.set(job.pipeline, now);
      this.#events.moved();
      if (now.status === "SUCCEEDED") {
        const { finished } = this.#state;
        if (!finished.some(({ id }) => id === now.id)) this.#state.finished = [now, ...finished];
        void this.#loadResult(now);
      }
    };
    followJob(job.id, onChange, this.#signal).catch((error: unknown) =>
      this.reportError(`Could not follow the job: ${messageOf(error)}`),
    );
  }

  async #loadResult(job: Job): Promise<void> {
    try {
      this.#state.results.set(job.id, await getResult(job.id));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const name = pipelineTitle(job.pipeline).toLowerCase();
      this.reportError(`Could not load the ${name} result: ${error.message}`);
    }
    if (!this.#signal.aborted) await this.#events.result();
  }
}

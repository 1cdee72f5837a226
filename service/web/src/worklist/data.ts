import {
  ApiError,
  getSlide,
  listChangedReviews,
  listJobs,
  listModels,
  listSlides,
  startBatch,
  startJob,
} from "../api/client";
import {
  type Batch,
  isFinal,
  type Job,
  type Model,
  type ReviewBrief,
  type Slide,
} from "../api/types";
import { withJob } from "../pure/worklist";
import { toast } from "../ui/notice";
import { askResolution } from "../ui/resolution";

const PAGE = 500;
/** Slides that are looked at each time for whether any is new. */
const FEW = 20;
/** News of reviews come with every so many looks at the jobs. */
const NEWS_EVERY = 3;

/** Which pipeline shall score, and with which of its models; null: the newest. */
export interface Choice {
  readonly pipeline: string;
  readonly model: string | null;
}

/** Over the way to a slide and back. */
const kept = new Map<string, string>();

/** The slides as the service knows them, kept up to date, and the jobs that are started on them. */
export class SlideList {
  readonly slides = new Map<string, Slide>();
  /** Why a slide could not be started from here; it stays with the row. */
  readonly refusals = kept;
  models: readonly Model[] = [];
  loaded = false;
  readonly #changed: () => void;
  readonly #signal: AbortSignal;
  #active = new Map<string, Job>();
  #newest: string | null = null;
  #looks = 0;

  constructor(changed: () => void, signal: AbortSignal) {
    this.#changed = changed;
    this.#signal = signal;
  }

  /** All slides, page by page; what is there is shown meanwhile. */
  async load(): Promise<void> {
    const [first, models] = await Promise.all([listSlides(PAGE, 0), listModels()]);
    this.models = models;
    this.#take(first.items);
    this.loaded = true;
    this.#changed();
    let seen = first.items.length;
    while (seen < first.total && !this.#signal.aborted) {
      const next = await listSlides(PAGE, seen);
      if (next.items.length === 0) break;
      this.#take(next.items);
      seen += next.items.length;
      this.#changed();
    }
  }

  /** Running jobs are few; slides may be thousands. So ask for jobs, and for what changed. */
  async look(): Promise<void> {
    const [queued, running] = await Promise.all([
      listJobs("status=QUEUED&limit=200"),
      listJobs("status=RUNNING&limit=200"),
      this.#takeNew(),
    ]);
    const now = new Map([...queued.items, ...running.items].map((job) => [job.id, job]));
    const ended = [...this.#active.values()].filter((job) => !now.has(job.id));
    this.#active = now;
    for (const id of new Set(ended.map((job) => job.slide_id))) this.#take([await getSlide(id)]);
    for (const job of now.values()) {
      const slide = this.slides.get(job.slide_id);
      if (slide) this.slides.set(slide.id, withJob(slide, job));
    }
    if (++this.#looks % NEWS_EVERY === 0) this.#hear(await listChangedReviews(this.#newest));
    this.#changed();
  }

  /** Whatever arrived since the last look, which may be thousands: newest first, until known. */
  async #takeNew(): Promise<void> {
    let size = FEW;
    for (let seen = 0; !this.#signal.aborted; size = PAGE) {
      const { items, total } = await listSlides(size, seen);
      const fresh = items.filter(({ id }) => !this.slides.has(id));
      this.#take(fresh);
      seen += items.length;
      if (fresh.length < items.length || items.length === 0 || seen >= total) return;
      this.#changed();
    }
  }

  /** Queue slides: several as one batch, if the reader may; else one by one. */
  async start(slides: readonly Slide[], choices: readonly Choice[]): Promise<Batch | null> {
    if (slides.length > 1 && choices.every(({ model }) => model === null)) {
      try {
        return await this.#startBatch(slides, choices);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.status !== 403) {
          toast(error.message, "error");
          return null;
        }
      }
    }
    for (const slide of slides) {
      for (const choice of choices) {
        try {
          if (!(await this.#startOne(slide, choice))) break;
        } catch (error) {
          if (!(error instanceof ApiError)) throw error;
          // The message says most often which slide it is; so the reason alone stays with the row.
          const reason = error.message.replace(`${slide.name}: `, "");
          this.refusals.set(slide.id, reason);
          toast(`${slide.name}: ${reason}`, "error");
          break;
        }
      }
    }
    this.#changed();
    return null;
  }

  async giveMpp(slide: Slide): Promise<boolean> {
    const changed = await askResolution([slide]);
    for (const now of changed) this.add(now);
    return changed.length > 0;
  }

  /** Jobs of a batch, of which there may be more than are asked for each time. */
  noteJobs(jobs: readonly Job[]): void {
    for (const job of jobs) {
      const slide = isFinal(job.status) ? undefined : this.slides.get(job.slide_id);
      if (slide) this.slides.set(slide.id, withJob(slide, job));
    }
  }

  add(slide: Slide): void {
    this.#take([slide]);
    this.#changed();
  }

  async #startBatch(slides: readonly Slide[], choices: readonly Choice[]): Promise<Batch> {
    const batch = await startBatch(
      `${slides.length} slides`,
      slides.map(({ id }) => id),
      choices.map(({ pipeline }) => pipeline),
    );
    await this.look();
    return batch;
  }

  /** Returns whether to go on with this slide. */
  async #startOne(slide: Slide, choice: Choice): Promise<boolean> {
    try {
      const job = await startJob(slide.id, choice.pipeline, choice.model);
      this.#active.set(job.id, job);
      this.refusals.delete(slide.id);
      this.slides.set(slide.id, withJob(this.slides.get(slide.id) ?? slide, job));
      return true;
    } catch (error) {
      if (!(error instanceof ApiError) || error.kind !== "mpp") throw error;
      return (await this.giveMpp(slide)) && this.#startOne(slide, choice);
    }
  }

  #take(slides: readonly Slide[]): void {
    for (const slide of slides) {
      this.slides.set(slide.id, slide);
      if (slide.review) this.#noteTime(slide.review);
    }
  }

  #hear(news: readonly ReviewBrief[]): void {
    for (const review of news) {
      this.#noteTime(review);
      const slide = this.slides.get(review.slide_id);
      if (slide) this.slides.set(slide.id, { ...slide, review });
    }
  }

  #noteTime(review: ReviewBrief): void {
    if (this.#newest === null || review.saved_at > this.#newest) this.#newest = review.saved_at;
  }
}

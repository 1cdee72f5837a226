import "./batches.css";
import { signal } from "@preact/signals";
import { render } from "preact";
import {
  ApiError,
  batchCsvUrl,
  cancelBatch,
  followBatch,
  listBatches,
  listItems,
  messageOf,
  retryBatch,
} from "../api/client";
import type { Batch, BatchItem, Job } from "../api/types";
import { countsText } from "../pure/batch";
import { ago } from "../pure/format";
import { h } from "../ui/dom";
import { Icon } from "../ui/icons";
import { toast } from "../ui/notice";

export interface BatchEvents {
  /** Another batch is shown, or what is known of it changed. */
  readonly changed: () => void;
  readonly jobs: (jobs: readonly Job[]) => void;
  /** Every slide of the shown batch has ended. */
  readonly ended: () => void;
}

type Act = (id: string) => Promise<Batch>;

/** Batches: chosen as a filter of the list, followed by events, their failures tried again. */
export class Batches {
  readonly select = h("div", { class: "batch-select" });
  readonly bar = h("div");
  /** Slides of the chosen batch, or null where none is chosen. */
  slides: ReadonlySet<string> | null = null;
  /** Why a slide of the chosen batch was refused, by the slide's id. */
  readonly refusals = new Map<string, string>();
  readonly #events: BatchEvents;
  readonly #known = signal<readonly Batch[]>([]);
  readonly #chosen = signal("");
  /** The progress of the chosen one; null before it is known. */
  readonly #progress = signal<Batch | null>(null);
  /** Whether a retry or a stop is on its way. */
  readonly #isSending = signal(false);
  #stop = new AbortController();

  constructor(events: BatchEvents, signal: AbortSignal) {
    this.#events = events;
    signal.addEventListener("abort", () => this.#stop.abort());
    const choose = (id: string) => void this.choose(id);
    const act = (action: Act) => void this.#act(action);
    const Select = () => (
      <BatchSelect known={this.#known.value} chosen={this.#chosen.value} choose={choose} />
    );
    const Bar = () => {
      const batch = this.#progress.value;
      return batch && <BatchBar batch={batch} isSending={this.#isSending.value} act={act} />;
    };
    render(<Select />, this.select);
    render(<Bar />, this.bar);
  }

  get chosen(): string {
    return this.#chosen.value;
  }

  /** Read which batches there are. */
  async load(): Promise<void> {
    this.#known.value = (await listBatches()).items;
  }

  /** Show only this batch's slides; all slides where the id is empty. */
  async choose(id: string): Promise<void> {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#chosen.value = id;
    this.#progress.value = null;
    this.slides = null;
    this.refusals.clear();
    if (id !== "") {
      try {
        await this.#readItems(id);
        if (this.chosen === id) this.#follow(id);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        toast(`Could not load the batch: ${error.message}`, "error");
        this.#chosen.value = "";
      }
    }
    this.#events.changed();
  }

  async #readItems(id: string): Promise<void> {
    const items: BatchItem[] = [];
    for (;;) {
      const page = await listItems(id, items.length);
      items.push(...page.items);
      if (page.items.length === 0 || items.length >= page.total) break;
    }
    if (this.chosen !== id) return;
    this.slides = new Set(items.map((item) => item.slide_id));
    this.#events.jobs(items.flatMap((item) => item.job ?? []));
    for (const item of items) {
      if (item.job === null && item.error) this.refusals.set(item.slide_id, item.error);
    }
  }

  #follow(id: string): void {
    let ran = false;
    const show = (batch: Batch) => {
      if (this.chosen !== id) return;
      this.#progress.value = batch;
      if (batch.finished && ran) this.#events.ended();
      ran ||= !batch.finished;
    };
    followBatch(id, show, this.#stop.signal).catch((error: unknown) =>
      toast(`Could not follow the batch: ${messageOf(error)}`, "error"),
    );
  }

  async #act(action: Act): Promise<void> {
    this.#isSending.value = true;
    try {
      const id = this.chosen;
      await action(id);
      // The stream ends when a batch has ended; after a retry it begins again.
      await this.choose(id);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, "error");
    } finally {
      this.#isSending.value = false;
    }
  }
}

interface SelectProps {
  readonly known: readonly Batch[];
  readonly chosen: string;
  readonly choose: (id: string) => void;
}

function BatchSelect({ known, chosen, choose }: SelectProps) {
  if (known.length === 0) return null;
  return (
    <select
      aria-label="Batch"
      value={chosen}
      onChange={(event) => choose(event.currentTarget.value)}
    >
      <option value="">All batches</option>
      {known.map(({ id, name, created_at }) => (
        <option key={id} value={id}>
          {`${name || "Batch"} · ${ago(created_at, Date.now())}`}
        </option>
      ))}
    </select>
  );
}

interface BarProps {
  readonly batch: Batch;
  readonly isSending: boolean;
  readonly act: (action: Act) => void;
}

function BatchBar({ batch, isSending, act }: BarProps) {
  return (
    <section class="batch-bar" aria-label="Progress of the batch">
      <strong>{batch.name || "Batch"}</strong>
      <progress
        max={1}
        value={batch.progress}
        aria-label={`Progress of ${batch.name || "the batch"}`}
      />
      <span class="batch-counts" role="status">
        {countsText(batch)}
      </span>
      <button
        type="button"
        class="button small"
        hidden={!batch.counts["FAILED"]}
        disabled={isSending}
        onClick={() => act(retryBatch)}
      >
        <Icon name="retry" size={13} />
        Retry failed
      </button>
      <button
        type="button"
        class="button small"
        hidden={batch.finished}
        disabled={isSending}
        onClick={() => act(cancelBatch)}
      >
        <Icon name="stop" size={13} />
        Stop batch
      </button>
      <a class="button small" href={batchCsvUrl(batch.id)} download="">
        CSV
      </a>
    </section>
  );
}

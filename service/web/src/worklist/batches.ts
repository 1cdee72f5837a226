import "./batches.css";
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
import { fill, h, setText } from "../ui/dom";
import { icon } from "../ui/icons";
import { toast } from "../ui/notice";

export interface BatchEvents {
  /** Another batch is shown, or what is known of it changed. */
  readonly changed: () => void;
  readonly jobs: (jobs: readonly Job[]) => void;
  /** Every slide of the shown batch has ended. */
  readonly ended: () => void;
}

/** Batches: chosen as a filter of the list, followed by events, their failures tried again. */
export class Batches {
  readonly select = h("select", { "aria-label": "Batch", hidden: true });
  readonly bar = h("section", {
    class: "batch-bar",
    "aria-label": "Progress of the batch",
    hidden: true,
  });
  /** Slides of the chosen batch, or null where none is chosen. */
  slides: ReadonlySet<string> | null = null;
  /** Why a slide of the chosen batch was refused, by the slide's id. */
  readonly refusals = new Map<string, string>();
  readonly #events: BatchEvents;
  readonly #signal: AbortSignal;
  readonly #progress = h("progress", { max: 1, value: 0 });
  readonly #counts = h("span", { class: "batch-counts", role: "status" });
  readonly #retry: HTMLButtonElement;
  readonly #cancel: HTMLButtonElement;
  #known: readonly Batch[] = [];
  #chosen = "";
  #stop = new AbortController();

  constructor(events: BatchEvents, signal: AbortSignal) {
    this.#events = events;
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#stop.abort());
    this.select.addEventListener("change", () => void this.choose(this.select.value));
    this.#retry = this.#button("Retry failed", "retry", retryBatch);
    this.#cancel = this.#button("Stop batch", "stop", cancelBatch);
  }

  get chosen(): string {
    return this.#chosen;
  }

  /** Read which batches there are. */
  async load(): Promise<void> {
    this.#known = (await listBatches()).items;
    this.#showSelect();
  }

  /** Show only this batch's slides; all slides where the id is empty. */
  async choose(id: string): Promise<void> {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#chosen = id;
    this.slides = null;
    this.refusals.clear();
    this.bar.hidden = true;
    this.#showSelect();
    if (id !== "") {
      try {
        await this.#readItems(id);
        if (this.#chosen === id) this.#follow(id);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        toast(`Could not load the batch: ${error.message}`, "error");
        this.#chosen = "";
        this.#showSelect();
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
    if (this.#chosen !== id) return;
    this.slides = new Set(items.map((item) => item.slide_id));
    this.#events.jobs(items.flatMap((item) => item.job ?? []));
    for (const item of items) {
      if (item.job === null && item.error) this.refusals.set(item.slide_id, item.error);
    }
  }

  #follow(id: string): void {
    let ran = false;
    const show = (batch: Batch) => {
      if (this.#chosen !== id) return;
      this.#showBar(batch);
      if (batch.finished && ran) this.#events.ended();
      ran ||= !batch.finished;
    };
    followBatch(id, show, this.#stop.signal).catch((error: unknown) =>
      toast(`Could not follow the batch: ${messageOf(error)}`, "error"),
    );
  }

  #showSelect(): void {
    this.select.hidden = this.#known.length === 0;
    fill(
      this.select,
      h("option", { value: "" }, "All batches"),
      this.#known.map((batch) =>
        h(
          "option",
          { value: batch.id, selected: batch.id === this.#chosen },
          `${batch.name || "Batch"} · ${ago(batch.created_at, Date.now())}`,
        ),
      ),
    );
    this.select.value = this.#chosen;
  }

  #showBar(batch: Batch): void {
    if (this.bar.hidden) {
      fill(
        this.bar,
        h("strong", {}, batch.name || "Batch"),
        this.#progress,
        this.#counts,
        this.#retry,
        this.#cancel,
        h("a", { class: "button small", href: batchCsvUrl(batch.id), download: "" }, "CSV"),
      );
      this.#progress.setAttribute("aria-label", `Progress of ${batch.name || "the batch"}`);
    }
    this.bar.hidden = false;
    this.#progress.value = batch.progress;
    setText(this.#counts, countsText(batch));
    this.#retry.hidden = !batch.counts.FAILED;
    this.#cancel.hidden = batch.finished;
  }

  #button(
    label: string,
    name: "retry" | "stop",
    act: (id: string) => Promise<Batch>,
  ): HTMLButtonElement {
    const button = h(
      "button",
      { class: "button small", hidden: true, onclick: () => void send() },
      icon(name, 13),
      label,
    );
    const send = async () => {
      button.disabled = true;
      try {
        const id = this.#chosen;
        await act(id);
        // The stream ends when a batch has ended; a retry begins anew.
        await this.choose(id);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        toast(error.message, "error");
      } finally {
        button.disabled = this.#signal.aborted;
      }
    };
    return button;
  }
}

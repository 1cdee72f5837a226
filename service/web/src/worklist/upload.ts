import "./upload.css";
import { ApiError, messageOf, SIGNED_IN } from "../api/client";
import { interruptedUploads, type Sending, sendSlide } from "../api/tus";
import type { Slide } from "../api/types";
import { bytes } from "../pure/format";
import { h, setText } from "../ui/dom";
import { icon } from "../ui/icons";
import { askResolution } from "../ui/resolution";

/**
 * Slides sent by button or by drag and drop, one after the other, each with its own progress.
 * They go on while the reader looks at slides; a worklist that is shown again shows them again.
 */
class Uploads {
  readonly button: HTMLButtonElement;
  readonly list = h("ul", { class: "uploads", "aria-label": "Uploads", hidden: true });
  readonly #waiting: UploadRow[] = [];
  readonly #rows = new Set<UploadRow>();
  /** Arrived without a resolution: asked for in one dialog once nothing is waiting. */
  readonly #bare = new Map<string, Slide>();
  #onSlide: ((slide: Slide) => void) | null = null;
  #asking = false;
  #busy = false;
  #recalled = false;

  constructor() {
    const input = h("input", { type: "file", multiple: true, hidden: true });
    input.addEventListener("change", () => {
      this.#add([...(input.files ?? [])]);
      input.value = "";
    });
    this.button = h(
      "button",
      { class: "button primary", onclick: () => input.click() },
      icon("upload", 16),
      "Upload slides",
    );
    this.button.append(input);
    input.addEventListener("click", (event) => event.stopPropagation());
    window.addEventListener("beforeunload", (event) => {
      if (this.#busy) event.preventDefault();
    });
    for (const event of ["online", SIGNED_IN]) {
      window.addEventListener(event, () => {
        for (const row of this.#rows) row.goOn();
      });
    }
  }

  /** A worklist is shown: it takes drops, and hears of the slides that arrive. */
  attach(root: Element, signal: AbortSignal, onSlide: (slide: Slide) => void): void {
    this.#onSlide = onSlide;
    this.#listenDrops(root, signal);
    if (!this.#recalled) void this.#recall();
    this.#recalled = true;
  }

  #listenDrops(root: Element, signal: AbortSignal): void {
    const isFile = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    window.addEventListener(
      "dragover",
      (event) => {
        if (!isFile(event)) return;
        event.preventDefault();
        root.classList.add("dropping");
      },
      { signal },
    );
    window.addEventListener(
      "dragleave",
      (event) => {
        if (event.relatedTarget === null) root.classList.remove("dropping");
      },
      { signal },
    );
    window.addEventListener(
      "drop",
      (event) => {
        if (!isFile(event)) return;
        event.preventDefault();
        root.classList.remove("dropping");
        this.#add([...(event.dataTransfer?.files ?? [])]);
      },
      { signal },
    );
  }

  #add(files: readonly File[]): void {
    for (const file of files) {
      for (const note of this.list.querySelectorAll<HTMLElement>(".interrupted")) {
        if (note.dataset["name"] === file.name) note.remove();
      }
      const row = new UploadRow(file, {
        again: () => this.#enqueue(row),
        gone: () => {
          this.#rows.delete(row);
          this.#tidy();
        },
      });
      this.#rows.add(row);
      this.list.append(row.element);
      this.#enqueue(row);
    }
    this.#tidy();
  }

  #enqueue(row: UploadRow): void {
    this.#waiting.push(row);
    void this.#work();
  }

  async #work(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    for (let row = this.#waiting.shift(); row; row = this.#waiting.shift()) {
      const slide = await row.send();
      if (!slide) continue;
      this.#onSlide?.(slide);
      if (slide.mpp === null) this.#bare.set(slide.id, slide);
    }
    this.#busy = false;
    await this.#askForResolutions();
  }

  /** In the end, so that one slide does not hold up the others. */
  async #askForResolutions(): Promise<void> {
    if (this.#asking || this.#busy || this.#bare.size === 0) return;
    this.#asking = true;
    const slides = [...this.#bare.values()];
    this.#bare.clear();
    for (const slide of await askResolution(slides)) this.#onSlide?.(slide);
    this.#asking = false;
    await this.#askForResolutions();
  }

  /** Say which uploads were broken off before this page was loaded. */
  async #recall(): Promise<void> {
    for (const { name, size, forget } of await interruptedUploads()) {
      const note = h(
        "li",
        { class: "interrupted", "data-name": name },
        h("span", { class: "upload-name" }, name),
        h("span", { class: "quiet" }, bytes(size)),
        h("span", { class: "upload-text" }, "Interrupted. Select the file again to resume."),
        h(
          "button",
          {
            class: "icon-button small",
            "aria-label": `Discard the upload of ${name}`,
            onclick: () => {
              forget();
              note.remove();
              this.#tidy();
            },
          },
          icon("close", 14),
        ),
      );
      this.list.append(note);
    }
    this.#tidy();
  }

  #tidy(): void {
    this.list.hidden = this.list.childElementCount === 0;
  }
}

interface RowEvents {
  readonly again: () => void;
  readonly gone: () => void;
}

class UploadRow {
  readonly element: HTMLLIElement;
  readonly #file: File;
  readonly #bar = h("progress", { max: 100, value: 0 });
  readonly #text = h("span", { class: "upload-text" }, "waiting");
  readonly #retry: HTMLButtonElement;
  readonly #close: HTMLButtonElement;
  readonly #events: RowEvents;
  #sending: Sending | null = null;
  #stopped = false;
  /** It failed for a reason that goes by: no connection, no session. */
  #waits = false;

  constructor(file: File, events: RowEvents) {
    this.#file = file;
    this.#events = events;
    this.#bar.setAttribute("aria-label", `Upload of ${file.name}`);
    this.#retry = h(
      "button",
      { class: "button small", hidden: true, onclick: () => this.#again() },
      icon("retry", 13),
      "Try again",
    );
    this.#close = h(
      "button",
      {
        class: "icon-button small",
        "aria-label": `Stop the upload of ${file.name}`,
        onclick: () => this.#end(),
      },
      icon("close", 14),
    );
    this.element = h(
      "li",
      {},
      h("span", { class: "upload-name" }, file.name),
      h("span", { class: "quiet" }, bytes(file.size)),
      this.#bar,
      this.#text,
      this.#retry,
      this.#close,
    );
  }

  /** Null where it did not arrive; the row says why. */
  async send(): Promise<Slide | null> {
    if (this.#stopped) return null;
    this.element.classList.remove("failed");
    this.#bar.hidden = false;
    const onProgress = (share: number) => {
      this.#bar.value = share * 100;
      setText(this.#text, share < 1 ? `${Math.round(share * 100)} %` : "being checked");
    };
    this.#sending = sendSlide(this.#file, onProgress, () =>
      setText(this.#text, "interrupted, trying again"),
    );
    try {
      const slide = await this.#sending.done;
      setText(this.#text, "done");
      this.#sending = null;
      setTimeout(() => this.#end(), 2500);
      return slide;
    } catch (error) {
      this.#sending = null;
      if (!(error instanceof ApiError)) throw error;
      if (error.kind !== "aborted") this.#fail(error);
      return null;
    }
  }

  /** The connection or the session is back. */
  goOn(): void {
    if (this.#waits) this.#again();
  }

  #fail(error: ApiError): void {
    this.#bar.hidden = true;
    this.element.classList.add("failed");
    setText(this.#text, messageOf(error));
    this.#waits = error.status === 0 || error.status === 401;
    // What is wrong with the file itself does not change by sending it again.
    this.#retry.hidden = error.status >= 400 && error.status < 500 && error.status !== 401;
    this.#close.setAttribute("aria-label", `Dismiss ${this.#file.name}`);
  }

  #again(): void {
    this.#waits = false;
    this.#retry.hidden = true;
    setText(this.#text, "waiting");
    this.#events.again();
  }

  #end(): void {
    this.#stopped = true;
    this.#sending?.abort();
    this.element.remove();
    this.#events.gone();
  }
}

let uploads: Uploads | null = null;

export function theUploads(): Uploads {
  uploads ??= new Uploads();
  return uploads;
}

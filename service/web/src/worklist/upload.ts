import { ApiError, messageOf, setMpp, type Upload, uploadSlide } from "../api/client";
import type { Slide } from "../api/types";
import { bytes } from "../pure/format";
import { askMpp } from "../ui/dialog";
import { h, setText } from "../ui/dom";
import { icon } from "../ui/icons";

/** Slides sent by button or by drag and drop, one after the other, each with its own progress. */
export class Uploads {
  readonly button: HTMLButtonElement;
  readonly list = h("ul", { class: "uploads", "aria-label": "Uploads", hidden: true });
  readonly #onSlide: (slide: Slide) => void;
  readonly #signal: AbortSignal;
  readonly #waiting: (() => Promise<void>)[] = [];
  #busy = false;

  constructor(root: Element, signal: AbortSignal, onSlide: (slide: Slide) => void) {
    this.#onSlide = onSlide;
    this.#signal = signal;
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
    this.#listenDrops(root, signal);
    window.addEventListener(
      "beforeunload",
      (event) => {
        if (this.#busy) event.preventDefault();
      },
      { signal },
    );
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
      const row = new UploadRow(
        file,
        () => void this.#enqueue(row),
        () => this.#tidy(),
      );
      this.list.append(row.element);
      this.#enqueue(row);
    }
    this.#tidy();
  }

  #enqueue(row: UploadRow): void {
    this.#waiting.push(async () => {
      const slide = await row.send();
      if (!slide || this.#signal.aborted) return;
      this.#onSlide(slide);
      if (slide.mpp !== null) return;
      const mpp = await askMpp(
        slide.name,
        "This slide states no resolution, and a model needs one.",
      );
      if (mpp !== null) this.#onSlide(await setMpp(slide.id, mpp));
    });
    void this.#work();
  }

  async #work(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) await next();
    this.#busy = false;
  }

  #tidy(): void {
    this.list.hidden = this.list.childElementCount === 0;
  }
}

class UploadRow {
  readonly element: HTMLLIElement;
  readonly #file: File;
  readonly #bar = h("progress", { max: 100, value: 0 });
  readonly #text = h("span", { class: "upload-text" }, "waiting");
  readonly #retry: HTMLButtonElement;
  readonly #close: HTMLButtonElement;
  readonly #gone: () => void;
  #upload: Upload | null = null;
  #stopped = false;

  constructor(file: File, again: () => void, gone: () => void) {
    this.#file = file;
    this.#gone = gone;
    this.#bar.setAttribute("aria-label", `Upload of ${file.name}`);
    this.#retry = h(
      "button",
      {
        class: "button small",
        hidden: true,
        onclick: () => {
          this.#retry.hidden = true;
          again();
        },
      },
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
    this.#upload = uploadSlide(this.#file, null, (share) => {
      this.#bar.value = share * 100;
      setText(this.#text, share < 1 ? `${Math.round(share * 100)} %` : "being checked");
    });
    try {
      const slide = await this.#upload.done;
      setText(this.#text, "done");
      setTimeout(() => this.#end(), 2500);
      return slide;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.kind === "aborted") return null;
      this.#bar.hidden = true;
      this.element.classList.add("failed");
      setText(this.#text, messageOf(error));
      this.#retry.hidden = error.status >= 400 && error.status < 500;
      this.#close.setAttribute("aria-label", `Dismiss ${this.#file.name}`);
      return null;
    } finally {
      this.#upload = null;
    }
  }

  #end(): void {
    this.#stopped = true;
    this.#upload?.abort();
    this.element.remove();
    this.#gone();
  }
}

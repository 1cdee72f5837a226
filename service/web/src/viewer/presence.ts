import { announcePresence, isTransient, pause, withdrawPresence } from "../api/client";
import { readerName } from "../reader";
import { fill, h } from "../ui/dom";

/** Less than the time after which the service forgets a page that says nothing. */
const BEAT_MS = 8000;

/** This page among all pages that are open anywhere. */
const READER = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) =>
  byte.toString(16).padStart(2, "0"),
).join("");

/** Says that this page has the slide open, and shows who else has. */
export class Presence {
  readonly element = h("p", { class: "presence", role: "status", hidden: true });
  readonly #slideId: string;
  readonly #signal: AbortSignal;

  constructor(slideId: string, signal: AbortSignal) {
    this.#slideId = slideId;
    this.#signal = signal;
  }

  async run(): Promise<void> {
    const leave = () => withdrawPresence(this.#slideId, READER);
    window.addEventListener("pagehide", leave, { signal: this.#signal });
    this.#signal.addEventListener("abort", leave);
    while (!this.#signal.aborted) {
      try {
        this.#show(await announcePresence(this.#slideId, READER, readerName()));
      } catch (error) {
        // Who else is here is not worth a message; the review itself says when the service is away.
        if (!isTransient(error)) throw error;
      }
      await pause(BEAT_MS, this.#signal);
    }
  }

  #show(others: readonly string[]): void {
    this.element.hidden = others.length === 0;
    const names = others.map((name) => name || "someone").join(", ");
    fill(
      this.element,
      h("span", { class: "presence-dot", "aria-hidden": "true" }),
      `Also viewing: ${names}`,
    );
  }
}

import type OpenSeadragon from "openseadragon";
import { pause } from "../api/client";
import { h, setText } from "../ui/dom";

/** How long between looks whether the service is back. */
const POLL_INTERVAL_MS = 2000;
/** A tile that the service sends but the browser cannot show is not asked for again and again. */
const OWN_RETRIES = 2;

const TEXT = "Parts of this slide could not be loaded at full resolution.";
const DAMAGED = `${TEXT} The file is damaged there.`;

interface Failed {
  readonly tile: OpenSeadragon.Tile;
  readonly image: OpenSeadragon.TiledImage;
}

/**
 * Tiles that did not come. OpenSeadragon shows coarser ones in their place for good and says nothing;
 * here the reader is told, and they are asked for again once the service answers, or on request.
 */
export class TileFaults {
  readonly element: HTMLElement;
  readonly #text = h("span", {});
  readonly #signal: AbortSignal;
  readonly #failed = new Map<OpenSeadragon.Tile, Failed>();
  readonly #retried = new Map<string, number>();
  #looking = false;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    const button = h(
      "button",
      { class: "button small", type: "button", onclick: () => this.reload() },
      "Reload",
    );
    this.element = h(
      "div",
      { class: "tile-faults", role: "status", hidden: true },
      this.#text,
      button,
    );
  }

  watch(viewer: OpenSeadragon.Viewer): void {
    viewer.addHandler("tile-load-failed", ({ tile, tiledImage }) => {
      this.#failed.set(tile, { tile, image: tiledImage });
      void this.#look();
    });
  }

  /** Ask for everything again that failed. */
  reload(): void {
    const failed = [...this.#failed.values()];
    this.#failed.clear();
    this.element.hidden = true;
    for (const { tile } of failed) {
      // OpenSeadragon takes a tile that failed for one that there is not.
      tile.exists = true;
    }
    for (const image of new Set(failed.map((one) => one.image))) image.reset();
  }

  /** Find out why they fail; where the service is away, wait for it. */
  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    while (this.#failed.size > 0 && !this.#signal.aborted) {
      const [tile] = this.#failed.keys();
      const url = tile?.getUrl() ?? "";
      const answer = await this.#ask(url);
      if (this.#signal.aborted) break;
      if (answer === "available" && this.#mayRetry(url)) {
        this.reload();
        break;
      }
      setText(this.#text, answer === "damaged" ? DAMAGED : TEXT);
      this.element.hidden = this.#failed.size === 0;
      // Whether damaged or away: not a question a tile.
      await pause(POLL_INTERVAL_MS, this.#signal);
      if (answer !== "unreachable") break;
    }
    this.#looking = false;
  }

  async #ask(url: string): Promise<"available" | "damaged" | "unreachable"> {
    try {
      const { ok, status } = await fetch(url, { signal: this.#signal, cache: "no-store" });
      if (ok) return "available";
      // Whoever is signed out, or asks too often, gets it later; so does one of a service in trouble.
      return status < 500 && ![401, 403, 408, 429].includes(status) ? "damaged" : "unreachable";
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof DOMException)) throw error;
      return "unreachable";
    }
  }

  #mayRetry(url: string): boolean {
    const count = this.#retried.get(url) ?? 0;
    this.#retried.set(url, count + 1);
    return count < OWN_RETRIES;
  }
}

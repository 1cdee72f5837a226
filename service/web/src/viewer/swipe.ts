import "./swipe.css";
import { h, setText } from "../ui/dom";

/** The divider between two heatmaps over one view: dragged, or moved by the arrow keys. */
export class SwipeHandle {
  readonly #onMove: (share: number) => void;
  readonly #left = h("span", { class: "swipe-title left" });
  readonly #right = h("span", { class: "swipe-title right" });
  readonly #grip = h("div", {
    class: "swipe-grip",
    role: "slider",
    tabindex: 0,
    "aria-label": "Swipe divider",
    "aria-valuemin": 0,
    "aria-valuemax": 100,
    "aria-orientation": "horizontal",
  });
  readonly #line = h("div", { class: "swipe" }, this.#left, this.#right, this.#grip);
  #share = 0.5;

  constructor(onMove: (share: number) => void) {
    this.#onMove = onMove;
    this.#grip.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      this.#grip.setPointerCapture(event.pointerId);
    });
    this.#grip.addEventListener("pointermove", (event) => {
      if (!this.#grip.hasPointerCapture(event.pointerId)) return;
      const box = this.#line.parentElement?.getBoundingClientRect();
      if (box) this.#set((event.clientX - box.left) / box.width);
    });
    this.#grip.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.#set(this.#share + step);
    });
  }

  attach(host: HTMLElement): void {
    host.append(this.#line);
    this.#set(this.#share);
  }

  detach(): void {
    this.#line.remove();
  }

  setTitles(left: string, right: string): void {
    setText(this.#left, left);
    setText(this.#right, right);
  }

  #set(share: number): void {
    this.#share = Math.min(0.98, Math.max(0.02, share));
    this.#line.style.left = `${this.#share * 100}%`;
    this.#grip.setAttribute("aria-valuenow", String(Math.round(this.#share * 100)));
    this.#onMove(this.#share);
  }
}

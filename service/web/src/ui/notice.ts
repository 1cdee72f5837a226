import "./notice.css";
import { h } from "./dom";
import { icon } from "./icons";

/** Messages to the reader: short ones at the edge of the page, and whole states in its place. */

let tray: HTMLElement | null = null;

/** The slide that is open; the worklist has none. */
const openSlide = (): string => /^#\/slides\/([\w-]+)/.exec(location.hash)?.[1] ?? "";

/** Take away what was said of other slides than the one that has just been opened. */
export function dropToastsOfOthers(): void {
  const now = openSlide();
  if (now === "") return;
  for (const note of tray?.querySelectorAll<HTMLElement>(".toast") ?? []) {
    const of = note.dataset["slide"] ?? "";
    if (of !== "" && of !== now) note.remove();
  }
}

export function toast(text: string, tone: "info" | "error" = "info"): void {
  if (!tray) {
    tray = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
    document.body.append(tray);
  }
  const note = h(
    "div",
    { class: `toast ${tone}`, "data-slide": openSlide() },
    h("span", {}, text),
    h(
      "button",
      { class: "icon-button small", "aria-label": "Dismiss message", onclick: () => note.remove() },
      icon("close", 14),
    ),
  );
  tray.append(note);
  // An error stays until it is read; news goes by itself.
  if (tone === "info") setTimeout(() => note.remove(), 6000);
}

/** A state that takes the place of content: what is the matter and what to do. */
export function stateCard(
  title: string,
  text: string,
  actions: readonly HTMLElement[] = [],
  tone: "quiet" | "error" = "quiet",
): HTMLElement {
  return h(
    "div",
    { class: `state-card ${tone}`, role: tone === "error" ? "alert" : null },
    h("h2", {}, title),
    h("p", {}, text),
    actions.length > 0 && h("div", { class: "actions" }, actions),
  );
}

import { ApiError, isUnreachable, messageOf } from "../api/client";
import { fill, h } from "../ui/dom";
import { stateCard } from "../ui/notice";

/** In place of a slide that could not be opened: why, and what to do. */
export function showLoadError(root: Element, error: unknown, retry: () => Promise<void>): void {
  const back = h("a", { class: "button", href: "#/" }, "Back to the worklist");
  const missing = error instanceof ApiError && error.status === 404;
  const card = missing
    ? stateCard("Slide not found", "It was deleted, or the address is wrong.", [back], "error")
    : stateCard(
        isUnreachable(error) ? "Can't reach the server" : "Could not open the slide",
        `${messageOf(error)}${isUnreachable(error) ? " This page keeps trying." : ""}`,
        [
          h("button", { class: "button primary", onclick: () => void retry() }, "Try again now"),
          back,
        ],
        "error",
      );
  fill(root, card);
}

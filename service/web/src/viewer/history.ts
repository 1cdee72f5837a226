import { getHistory, messageOf } from "../api/client";
import { changesOf } from "../pure/changes";
import type { Review } from "../pure/review";
import { openDialog } from "../ui/dialog";
import { h } from "../ui/dom";
import { toast } from "../ui/notice";

/** Every version of a slide's review and what it changed, newest first, in a dialog. */
export async function showHistory(slideId: string): Promise<void> {
  try {
    const versions = await getHistory(slideId);
    openDialog("History of this review", [
      versions.length === 0
        ? h("p", { class: "quiet" }, "Nothing was saved yet.")
        : historyList(versions),
    ]);
  } catch (error) {
    toast(`Could not load the history: ${messageOf(error)}`, "error");
  }
}

function historyList(versions: readonly Review[]): HTMLElement {
  const shown = versions
    .map((review, at) => ({ review, changes: changesOf(review, versions[at + 1] ?? null) }))
    // A version that only notes what was looked at says nothing to a reader.
    .filter(({ review, changes }) => changes.length > 0 || review.status === "signed");
  return h(
    "ol",
    { class: "history", tabindex: "0", "aria-label": "Versions, newest first" },
    shown.map(({ review, changes }) =>
      h(
        "li",
        {},
        h("strong", {}, title(review)),
        h(
          "span",
          { class: "quiet" },
          `${review.reviewer || "unnamed"}, ${review.saved_at ? new Date(review.saved_at).toLocaleString() : ""}`,
        ),
        changes.map((change) => h("span", {}, change)),
      ),
    ),
  );
}

function title({ version, status, amends }: Review): string {
  return `${version}. ${status}${amends === null ? "" : ` (amends ${amends})`}`;
}

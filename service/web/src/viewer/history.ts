import { getHistory, messageOf } from "../api/client";
import type { Review } from "../pure/review";
import { openDialog } from "../ui/dialog";
import { h } from "../ui/dom";
import { toast } from "../ui/notice";

/** Every version of a slide's review, in a dialog. */
export async function showHistory(slideId: string): Promise<void> {
  try {
    const versions = await getHistory(slideId);
    openDialog("History of this review", [
      versions.length === 0
        ? h("p", { class: "quiet" }, "Nothing was saved yet.")
        : historyList(versions),
    ]);
  } catch (error) {
    toast(`The history did not come: ${messageOf(error)}`, "error");
  }
}

function historyList(versions: readonly Review[]): HTMLElement {
  return h(
    "ol",
    { class: "history" },
    versions.map((review) =>
      h(
        "li",
        {},
        h(
          "strong",
          {},
          `${review.version}. ${review.status}${review.amends === null ? "" : ` (amends ${review.amends})`}`,
        ),
        h(
          "span",
          {},
          `${review.diagnosis ?? "no diagnosis"} · ${review.hotspots.length} hotspots marked · ${review.reviewer || "no name"}`,
        ),
        h(
          "span",
          { class: "quiet" },
          review.saved_at ? new Date(review.saved_at).toLocaleString() : "",
        ),
        review.reason !== "" && h("span", {}, `Reason: ${review.reason}`),
        review.comment !== "" && h("span", {}, review.comment),
      ),
    ),
  );
}

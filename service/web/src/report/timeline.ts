import { percent, pipelineTitle } from "../pure/format";
import { type Review, turns } from "../pure/review";
import { h } from "../ui/dom";

/** What was decided when, and what the models said at that moment. */
export function timeline(history: readonly Review[]): HTMLElement | null {
  const rows = turns(history);
  if (rows.length === 0) return null;
  const committed = new Set<string>();
  return h(
    "section",
    {},
    h("h2", {}, "Timeline"),
    h(
      "table",
      { class: "report-table" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["When", "Reader", "Diagnosis", "Model results"].map((title) =>
            h("th", { scope: "col" }, title),
          ),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((review) => {
          // A blind reader saw the models from their own first choice on, not before it. Who chose
          // without a name may have given one later.
          const isFirst = !committed.has(review.reviewer) && !committed.has("");
          const unseen = review.blind && isFirst;
          if (review.diagnosis !== null) committed.add(review.reviewer);
          return h(
            "tr",
            {},
            h("td", {}, review.saved_at ? new Date(review.saved_at).toLocaleString() : ""),
            h("td", {}, review.reviewer || "unnamed"),
            h("td", {}, `${review.diagnosis ?? "none"}${state(review)}`),
            h("td", {}, unseen ? "hidden from the reader" : said(review)),
          );
        }),
      ),
    ),
  );
}

function state(review: Review): string {
  if (review.status !== "signed") return "";
  return review.amends === null ? ", signed" : ", amended and signed";
}

const said = (review: Review): string =>
  review.model_calls
    .map((call) => {
      const name = pipelineTitle(call.pipeline);
      return `${name}: ${call.class_name} ${percent(call.probability)} (${call.model})`;
    })
    .join("; ") || "no result yet";

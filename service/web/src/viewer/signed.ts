import { pipelineTitle } from "../pure/format";
import type { Review } from "../pure/review";
import { neighbours } from "../sequence";
import { h } from "../ui/dom";
import { icon } from "../ui/icons";

/** What a signed review says, and where to go from it. */
export function signedParts(saved: Review): (HTMLElement | false)[] {
  const when = saved.saved_at ? new Date(saved.saved_at).toLocaleString() : "";
  const differs = saved.contradicts.map(pipelineTitle).join(" and ");
  const agreed = agreedText(saved.agreed_beyond);
  return [
    h(
      "p",
      {},
      icon("check", 16),
      h("strong", {}, saved.diagnosis ?? ""),
      ` · ${saved.amends === null ? "signed" : "amended"} by ${saved.reviewer}`,
    ),
    h("p", { class: "quiet" }, `${when}${saved.blind ? " · blind first read" : ""}`),
    agreed !== "" && h("p", {}, agreed),
    differs !== "" && h("p", {}, `Contradicts ${differs}: ${saved.reason}`),
    differs === "" && saved.reason !== "" && h("p", {}, `Reason: ${saved.reason}`),
    saved.comment !== "" && h("p", {}, saved.comment),
    h("a", { href: `#/slides/${saved.slide_id}/report` }, "Print report"),
    nextLink(saved.slide_id),
  ];
}

/** That the reader agreed with more than the diagnosis says; empty where they did not. */
export function agreedText(beyond: Readonly<Record<string, number>>): string {
  const spots = Object.entries(beyond).map(
    ([name, count]) => `${count} ${name} hotspot${count === 1 ? "" : "s"}`,
  );
  return spots.length === 0 ? "" : `Agreed with ${spots.join(" and ")}.`;
}

/** To the next slide of the worklist, or back to it after the last. */
function nextLink(slideId: string): HTMLElement {
  const next = neighbours(slideId)?.next;
  return h(
    "a",
    { class: "button primary next-slide", href: next ? `#/slides/${next}` : "#/" },
    next ? "Next slide" : "Back to the worklist",
    icon("next", 15),
  );
}

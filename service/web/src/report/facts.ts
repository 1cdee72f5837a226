import { h } from "../ui/dom";

/** Names and values. */
export function facts(rows: readonly (readonly [string, string])[]): HTMLElement {
  return h(
    "dl",
    { class: "report-facts" },
    rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

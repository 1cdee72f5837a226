import { thumbnailUrl } from "../api/client";
import type { ResultSummary, Slide } from "../api/types";
import { failureWords } from "../pure/failure";
import { ago, bytes, mppText, percent, pixels } from "../pure/format";
import { outcomeWords } from "../pure/outcome";
import { shareText, troubles } from "../pure/quality";
import { statedText } from "../pure/resolution";
import { slideSuspicion } from "../pure/suspicion";
import { rerunText, slideState } from "../pure/worklist";
import { h } from "../ui/dom";
import { icon } from "../ui/icons";

/** What a row of the worklist says of its slide. */

export interface RowOptions {
  readonly selected: boolean;
  /** The reader reads blind and has not chosen a diagnosis: no scores, nobody's diagnosis. */
  readonly hidden: boolean;
  readonly refusal: string | null;
  /** The thumbnail that the row had before. */
  readonly image: HTMLElement | null;
  readonly select: (on: boolean) => void;
  readonly start: () => void;
  readonly giveMpp: () => void;
}

export function rowCells(
  slide: Slide,
  pipelines: readonly string[],
  options: RowOptions,
): HTMLElement[] {
  const cell = (name: string, ...content: readonly (Node | string | null)[]) =>
    h("div", { class: `cell ${name}`, role: "gridcell" }, [...content]);
  const box = h("input", {
    type: "checkbox",
    checked: options.selected,
    tabindex: -1,
    "data-part": "box",
    "aria-label": `Select ${slide.name}`,
    onchange: () => options.select(box.checked),
  });
  const { hidden } = options;
  return [
    cell("check", box),
    cell("name", options.image ?? thumbnail(slide), nameText(slide, options.giveMpp)),
    cell("suspicion", suspicionMeter(slide, hidden)),
    ...pipelines.map((name) => {
      const result = slide.results.find((r) => r.pipeline === name);
      return cell("score", scoreOf(result, hidden));
    }),
    cell("quality", qualityOf(slide)),
    cell("state", stateOf(slide, options.refusal ?? slide.refusal ?? null)),
    cell("review", reviewOf(slide, hidden)),
    cell("created", ago(slide.created_at, Date.now())),
    cell("act", startButton(slide, options.start)),
  ];
}

function startButton(slide: Slide, start: () => void): HTMLElement {
  return h(
    "button",
    {
      class: "button small",
      tabindex: -1,
      "data-part": "start",
      "aria-label": `Score ${slide.name}`,
      onclick: start,
    },
    icon("play", 13),
    h("span", { class: "wide-only" }, "Score"),
  );
}

function nameText(slide: Slide, giveMpp: () => void): HTMLElement {
  const facts = `${pixels(slide.width, slide.height)} px · ${bytes(slide.size_bytes)}`;
  return h(
    "div",
    { class: "name-text" },
    h("a", { href: `#/slides/${slide.id}`, tabindex: -1, "data-part": "link" }, slide.name),
    h(
      "span",
      { class: "quiet", title: `${facts} · ${slide.vendor}` },
      resolutionButton(slide, giveMpp),
      ` · ${facts}`,
    ),
  );
}

/** A resolution can be corrected at any time. */
function resolutionButton(slide: Slide, giveMpp: () => void): HTMLElement {
  const missing = slide.mpp === null;
  return h(
    "button",
    {
      class: missing ? "link warn" : "link",
      tabindex: -1,
      "data-part": "mpp",
      title: statedText(slide),
      onclick: giveMpp,
    },
    missing ? "Enter resolution" : mppText(slide.mpp),
  );
}

function thumbnail(slide: Slide): HTMLElement {
  return h("img", {
    src: thumbnailUrl(slide.id, 128),
    alt: "",
    width: 72,
    height: 52,
    loading: "lazy",
    decoding: "async",
    onerror: (event: Event) => (event.target as HTMLElement).classList.add("broken"),
  });
}

const hiddenText = (): HTMLElement =>
  h(
    "span",
    { class: "quiet", title: "Blind first read: shown once a diagnosis is chosen" },
    "hidden",
  );

const unknownText = (): HTMLElement =>
  h(
    "span",
    { class: "quiet", title: "It is not known which of the model's classes are malignant" },
    "unknown",
  );

function suspicionMeter(slide: Slide, hidden: boolean): HTMLElement | string {
  const value = slideSuspicion(slide.results);
  const isScored = slide.results.some(({ outcome }) => outcome === "scored");
  if (value === null && !isScored) return "–";
  if (hidden) return hiddenText();
  if (value === null) return unknownText();
  const level = value >= 0.5 ? "high" : value >= 0.2 ? "middle" : "low";
  const bar = h("span", { class: "meter-fill" });
  bar.style.width = `${(value * 100).toFixed(1)}%`;
  return h(
    "div",
    { class: `meter ${level}` },
    h("strong", { class: "nowrap" }, percent(value)),
    h("span", { class: "meter-track", "aria-hidden": "true" }, bar),
  );
}

function scoreOf(result: ResultSummary | undefined, hidden: boolean): HTMLElement | string {
  if (!result) return "–";
  if (result.status === "QUEUED") return h("span", { class: "quiet" }, "waiting");
  if (result.status === "RUNNING") {
    const share = Math.round(result.progress * 100);
    return h(
      "div",
      { class: "score-progress" },
      h("progress", { max: 100, value: share, "aria-label": `${result.pipeline} progress` }),
      h("span", { class: "quiet" }, `${share} %`),
    );
  }
  if (result.status === "FAILED") {
    const title = failureWords(null, result.error).text;
    return h("span", { class: "failed", title }, "failed");
  }
  if (result.status === "CANCELLED") return h("span", { class: "quiet" }, "stopped");
  const words = outcomeWords(result.outcome);
  if (words) return h("span", { class: "quiet" }, words.title.toLowerCase());
  if (result.outcome === null) return "–";
  if (hidden) return hiddenText();
  const { suspicion, malignant } = result;
  if (suspicion === null) return unknownText();
  const name = malignant.length === 1 ? (malignant[0] ?? "") : "malignant";
  return h(
    "div",
    { class: "score-value", title: result.model },
    h("span", { class: "nowrap" }, percent(suspicion)),
    h("span", { class: "quiet", title: malignant.join(", ") }, rerunText(result.newer_run) ?? name),
  );
}

function qualityOf({ quality }: Slide): HTMLElement | string {
  if (!quality) return "–";
  const text = troubles(quality);
  const whole = `${text || "No artefacts"}; usable ${shareText(quality.usable_share)}`;
  if (!quality.flagged) return h("span", { class: "quiet detail", title: whole }, text || "good");
  return h(
    "div",
    { class: "state poor", title: whole },
    h("span", { class: "badge" }, "Poor"),
    text && h("span", { class: "quiet detail" }, text),
  );
}

const STATES = {
  unscored: "Not scored",
  running: "In progress",
  scored: "Scored",
  failed: "Failed",
  person: "Needs attention",
} as const;

function stateOf(slide: Slide, refusal: string | null): HTMLElement {
  const state = slideState(slide);
  const failed = slide.results.find((result) => result.status === "FAILED");
  const runs = slide.results.flatMap((result) => result.newer_run ?? []);
  const running = [...slide.results, ...runs].find(({ status }) => status === "RUNNING");
  const rerun = runs.map(rerunText).find((text) => text !== null);
  const unscored = slide.results.map((r) => outcomeWords(r.outcome)).find((words) => words);
  // The row says which slide it is; the reason need not say it again.
  const short = (text: string | null | undefined) => text?.replace(`${slide.name}: `, "");
  const reasons = {
    failed: failed && short(failureWords(null, failed.error).text),
    running: running?.stage,
    person: [unscored?.title.toLowerCase(), rerun].filter(Boolean).join(" · "),
    scored: rerun,
    unscored: null,
  };
  const detail = short(refusal) ?? reasons[state];
  return h(
    "div",
    { class: `state ${refusal ? "failed" : state}` },
    h("span", { class: "badge" }, refusal ? "Refused" : STATES[state]),
    detail ? h("span", { class: "quiet detail", title: detail }, detail) : null,
  );
}

function reviewOf({ review }: Slide, hidden: boolean): HTMLElement | string {
  if (!review) return "–";
  const text = [!hidden && review.diagnosis, review.reviewer].filter(Boolean).join(" · ");
  return h(
    "div",
    { class: `state review-${review.status}` },
    h("span", { class: "badge" }, review.status === "signed" ? "Signed" : "In review"),
    text && h("span", { class: "quiet detail", title: text }, text),
  );
}

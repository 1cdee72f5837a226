import "./report.css";
import { listAnnotations } from "../annotations/api";
import type { Annotation } from "../annotations/types";
import {
  getHistory,
  getLayout,
  getReport,
  getSlide,
  isUnreachable,
  messageOf,
  reportPdfUrl,
  SIGNED_IN,
  thumbnailUrl,
} from "../api/client";
import type { Report, Slide } from "../api/types";
import type { Place } from "../place";
import type { TileLayout } from "../pure/dzi";
import { pipelineTitle, pixels } from "../pure/format";
import { qualityText } from "../pure/quality";
import { firstRead, type Review } from "../pure/review";
import { isHidden, meetReader } from "../reader";
import { fill, h } from "../ui/dom";
import { icon } from "../ui/icons";
import { stateCard } from "../ui/notice";
import { agreedText } from "../viewer/signed";
import { annotationPart } from "./annotations";
import { facts } from "./facts";
import { runPart } from "./run";
import { timeline } from "./timeline";

/** A report of one slide, to print or to keep as PDF. */
export function showReport(root: Element, slideId: string): Place {
  let gone = false;
  let shown = false;
  const again = () => void (shown || load());
  window.addEventListener(SIGNED_IN, again);
  const load = async () => {
    fill(root, stateCard("Preparing the report…", ""));
    try {
      const parts = await gather(slideId);
      if (gone) return;
      document.title = `Report ${parts.slide.name} · wholeslide`;
      shown = true;
      fill(root, report(parts));
    } catch (error) {
      if (gone) return;
      fill(
        root,
        stateCard(
          isUnreachable(error) ? "Can't reach the server" : "Could not prepare the report",
          messageOf(error),
          [
            h("button", { class: "button primary", onclick: () => void load() }, "Try again"),
            h("a", { class: "button", href: "#/" }, "Back to the worklist"),
          ],
          "error",
        ),
      );
    }
  };
  void load();
  return {
    leave: () => {
      gone = true;
      window.removeEventListener(SIGNED_IN, again);
      document.title = "wholeslide";
    },
  };
}

interface Parts {
  readonly slide: Slide;
  readonly report: Report;
  readonly history: readonly Review[];
  readonly layout: TileLayout | null;
  readonly annotations: readonly Annotation[];
}

async function gather(slideId: string): Promise<Parts> {
  const [slide, report, history, layout, drawn] = await Promise.all([
    getSlide(slideId),
    getReport(slideId),
    getHistory(slideId),
    getLayout(slideId),
    listAnnotations(slideId, 0),
    meetReader(),
  ]);
  return { slide, report, history, layout, annotations: drawn.items };
}

function report(parts: Parts): HTMLElement {
  const { slide } = parts;
  const hidden = isHidden(slide.id, parts.report.review);
  return h(
    "main",
    { class: "report" },
    h(
      "div",
      { class: "report-tools" },
      h(
        "a",
        { class: "button", href: `#/slides/${slide.id}` },
        icon("back", 16),
        "Back to the slide",
      ),
      h(
        "button",
        { class: "button primary", onclick: () => window.print() },
        icon("print", 16),
        "Print",
      ),
      !hidden && h("a", { class: "button", href: reportPdfUrl(slide.id) }, "PDF"),
    ),
    h("h1", {}, `Slide ${slide.name}`),
    h("p", { class: "report-warning" }, "Research use only – not a medical device."),
    slideFacts(slide, parts.report.resolution),
    hidden
      ? h("p", {}, "Hidden until the reader has chosen a diagnosis (blind first read).")
      : findings(parts),
    h("p", { class: "quiet" }, `Printed ${new Date().toLocaleString()} from wholeslide.`),
  );
}

/** What readers and models say of the slide. */
function findings(parts: Parts): HTMLElement[] {
  const { slide, report, history, annotations } = parts;
  return [
    decision(report, history),
    timeline(history),
    annotationPart(slide, annotations),
    report.runs.length === 0 && h("p", {}, "No pipeline had scored this slide."),
    ...report.runs.map((run) => runPart(run, slide, parts.layout)),
  ].filter((part) => part instanceof HTMLElement);
}

function slideFacts(slide: Slide, resolution: string): HTMLElement {
  return h(
    "div",
    { class: "report-slide" },
    h("img", { src: thumbnailUrl(slide.id, 512), alt: `Slide ${slide.name} as a whole` }),
    facts([
      ["Size", `${pixels(slide.width, slide.height)} px`],
      ["Resolution", resolution],
      ["Scanner format", slide.vendor],
      ["SHA-256", slide.sha256],
      ...(slide.quality ? ([["Quality", qualityText(slide.quality)]] as const) : []),
    ]),
  );
}

function decision(report: Report, history: readonly Review[]): HTMLElement {
  const { review, newer_runs } = report;
  if (review.version === 0) {
    return h(
      "section",
      {},
      h("h2", {}, "Decision"),
      h("p", {}, "Nobody has reviewed this slide yet."),
    );
  }
  const earlier = history.filter((old) => old.status === "signed" && old.version < review.version);
  const when = (old: Review) => (old.saved_at ? new Date(old.saved_at).toLocaleString() : "");
  return h(
    "section",
    {},
    h("h2", {}, "Decision"),
    facts([
      ["Diagnosis", review.diagnosis ?? "none yet"],
      [
        "State",
        review.status === "signed"
          ? `signed by ${review.reviewer}, ${when(review)}`
          : "draft, not signed",
      ],
      ["First read", firstReadText(history)],
      ...(review.contradicts.length > 0
        ? ([["Contradicts", review.contradicts.map(pipelineTitle).join(", ")]] as const)
        : []),
      ...(Object.keys(review.agreed_beyond).length > 0
        ? ([["Although", agreedText(review.agreed_beyond)]] as const)
        : []),
      ...(review.reason ? ([["Reason", review.reason]] as const) : []),
      ...(review.comment ? ([["Comment", review.comment]] as const) : []),
      ...earlier.map(
        (old) =>
          ["Before", `${old.diagnosis ?? ""}, signed by ${old.reviewer}, ${when(old)}`] as const,
      ),
    ]),
    newer_runs.map(({ pipeline, model, finished_at }) =>
      h(
        "p",
        { class: "report-newer" },
        `A newer run exists: ${pipelineTitle(pipeline).toLowerCase()} (${model}${finished_at ? `, ${new Date(finished_at).toLocaleString()}` : ""}). This report shows the run that was signed.`,
      ),
    ),
  );
}

function firstReadText(history: readonly Review[]): string {
  const first = firstRead(history);
  if (!first) return "not yet";
  return `${first.diagnosis}, ${first.blind ? "without" : "with"} seeing the model's answer`;
}

import {
  API,
  getHistory,
  getLayout,
  getResult,
  getReview,
  getSlide,
  isAway,
  messageOf,
  overlayUrl,
  thumbnailUrl,
} from "../api/client";
import type { Slide, SlideResult } from "../api/types";
import type { Place } from "../place";
import type { TileLayout } from "../pure/dzi";
import { mppText, percent, pipelineTitle, pixels } from "../pure/format";
import { decisionOf, type Review } from "../pure/review";
import { areaText } from "../pure/scale";
import { suspiciousClass } from "../pure/suspicion";
import { fill, h } from "../ui/dom";
import { icon } from "../ui/icons";
import { stateCard } from "../ui/notice";
import { regionPicture } from "../viewer/picture";

const SPOTS = 6;

/** A report of one slide, to print or to keep as PDF. */
export function showReport(root: Element, slideId: string): Place {
  let gone = false;
  const load = async () => {
    fill(root, stateCard("Preparing the report…", ""));
    try {
      const parts = await gather(slideId);
      if (gone) return;
      document.title = `Report ${parts.slide.name} · wholeslide`;
      fill(root, report(parts));
    } catch (error) {
      if (gone) return;
      fill(
        root,
        stateCard(
          isAway(error) ? "The service is away" : "The report could not be made",
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
      document.title = "wholeslide";
    },
  };
}

interface Parts {
  readonly slide: Slide;
  readonly results: readonly SlideResult[];
  readonly review: Review | null;
  readonly history: readonly Review[];
  readonly layout: TileLayout | null;
}

async function gather(slideId: string): Promise<Parts> {
  const [slide, review, history, layout] = await Promise.all([
    getSlide(slideId),
    getReview(slideId, -1),
    getHistory(slideId),
    getLayout(slideId),
  ]);
  const done = slide.results.filter((result) => result.status === "SUCCEEDED");
  const results = await Promise.all(done.map((result) => getResult(result.job_id)));
  return { slide, results, review, history, layout };
}

function report(parts: Parts): HTMLElement {
  const { slide, results, review, history } = parts;
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
    ),
    h("h1", {}, `Slide ${slide.name}`),
    h("p", { class: "report-warning" }, "Research use only – not a medical device."),
    slideFacts(slide),
    decision(review, history),
    h("h2", {}, "Pipelines"),
    results.length === 0
      ? h("p", {}, "No pipeline has scored this slide.")
      : h("div", { class: "report-results" }, results.map(resultPart)),
    results.map((result) => hotspotPart(result, parts)),
    h("p", { class: "quiet" }, `Printed ${new Date().toLocaleString()} from wholeslide.`),
  );
}

function facts(rows: readonly (readonly [string, string])[]): HTMLElement {
  return h(
    "dl",
    { class: "report-facts" },
    rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

function slideFacts(slide: Slide): HTMLElement {
  return h(
    "div",
    { class: "report-slide" },
    h("img", { src: thumbnailUrl(slide.id, 512), alt: `Slide ${slide.name} as a whole` }),
    facts([
      ["Size", `${pixels(slide.width, slide.height)} px`],
      ["Resolution", mppText(slide.mpp)],
      ["Scanner format", slide.vendor],
      ["SHA-256", slide.sha256],
    ]),
  );
}

function decision(review: Review | null, history: readonly Review[]): HTMLElement {
  if (!review || review.version === 0) {
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
      ["First read", review.blind ? "without the model's answer" : "with the model's answer"],
      ...(review.contradicts.length > 0
        ? ([["Contradicts", review.contradicts.map(pipelineTitle).join(", ")]] as const)
        : []),
      ...(review.reason ? ([["Reason", review.reason]] as const) : []),
      ...(review.comment ? ([["Comment", review.comment]] as const) : []),
      ...earlier.map(
        (old) =>
          ["Amended", `${old.diagnosis ?? ""}, signed by ${old.reviewer}, ${when(old)}`] as const,
      ),
    ]),
  );
}

function resultPart(result: SlideResult): HTMLElement {
  const suspect = suspiciousClass(result.classes);
  return h(
    "section",
    { class: "report-result" },
    h("h3", {}, pipelineTitle(result.pipeline)),
    result.outcome === "no_tissue"
      ? h("p", {}, "No tissue was found.")
      : facts(
          result.classes.map((name) => [name, percent(result.probabilities[name] ?? 0)] as const),
        ),
    suspect !== null &&
      result.layers.includes("probability") &&
      h("img", {
        src: overlayUrl(result.job_id, "probability", suspect),
        alt: `Probability of ${suspect} over the slide`,
      }),
    h(
      "p",
      { class: "quiet" },
      `Model ${result.model}, weights ${result.model_digest.slice(0, 16)}`,
    ),
    result.warnings.map((text) => h("p", {}, text)),
  );
}

function hotspotPart(result: SlideResult, parts: Parts): HTMLElement | null {
  if (result.hotspots.length === 0) return null;
  const { review, slide, layout } = parts;
  return h(
    "section",
    {},
    h("h2", {}, `Hotspots of the ${pipelineTitle(result.pipeline).toLowerCase()} pipeline`),
    h(
      "ol",
      { class: "report-spots" },
      result.hotspots.slice(0, SPOTS).map((spot, index) => {
        const picture = h("canvas", {
          width: 300,
          height: 300,
          role: "img",
          "aria-label": `Hotspot ${index + 1}`,
        });
        if (layout) regionPicture(picture, slide.id, layout, spot);
        const decided = review ? decisionOf(review, result.job_id, index) : null;
        return h(
          "li",
          {},
          picture,
          h("strong", {}, `${index + 1}. ${spot.class_name}, peak ${spot.score.toFixed(2)}`),
          h("span", {}, areaText(spot.area_um2)),
          h("span", {}, decided ? `Reader: ${decided}` : "Reader: not decided"),
        );
      }),
    ),
    result.hotspots.length > SPOTS &&
      h(
        "p",
        { class: "quiet" },
        `${result.hotspots.length - SPOTS} more in ${API}/jobs/${result.job_id}/hotspots.geojson`,
      ),
  );
}

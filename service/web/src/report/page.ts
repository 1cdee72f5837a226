import { listAnnotations } from "../annotations/api";
import type { Annotation } from "../annotations/types";
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
  SIGNED_IN,
  thumbnailUrl,
} from "../api/client";
import type { Slide, SlideResult } from "../api/types";
import type { Place } from "../place";
import type { TileLayout } from "../pure/dzi";
import { kindTitle, mppText, percent, pipelineTitle, pixels } from "../pure/format";
import { qualityText } from "../pure/quality";
import { firstRead, type Review, recordOf } from "../pure/review";
import { areaText } from "../pure/scale";
import { suspiciousClass } from "../pure/suspicion";
import { isHidden, meetReader } from "../reader";
import { fill, h } from "../ui/dom";
import { icon } from "../ui/icons";
import { stateCard } from "../ui/notice";
import { regionPicture } from "../viewer/picture";
import { annotationPart } from "./annotations";
import { timeline } from "./timeline";

const SPOTS = 6;

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
      window.removeEventListener(SIGNED_IN, again);
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
  readonly annotations: readonly Annotation[];
}

async function gather(slideId: string): Promise<Parts> {
  const [slide, review, history, layout, drawn] = await Promise.all([
    getSlide(slideId),
    getReview(slideId, -1),
    getHistory(slideId),
    getLayout(slideId),
    listAnnotations(slideId, 0),
    meetReader(),
  ]);
  const done = slide.results.filter((result) => result.status === "SUCCEEDED");
  const results = await Promise.all(done.map((result) => getResult(result.job_id)));
  return { slide, results, review, history, layout, annotations: drawn.items };
}

function report(parts: Parts): HTMLElement {
  const { slide, review } = parts;
  const hidden = isHidden(slide.id, review);
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
    hidden
      ? h("p", {}, "Hidden until the reader has chosen a diagnosis (blind first read).")
      : findings(parts),
    h("p", { class: "quiet" }, `Printed ${new Date().toLocaleString()} from wholeslide.`),
  );
}

/** What readers and models say of the slide. */
function findings(parts: Parts): HTMLElement[] {
  const { slide, results, review, history, annotations } = parts;
  return [
    decision(review, history),
    timeline(history),
    annotationPart(slide, annotations),
    h("h2", {}, "Pipelines"),
    results.length === 0 && h("p", {}, "No pipeline has scored this slide."),
    h("div", { class: "report-results" }, results.map(resultPart)),
    ...results.map((result) => hotspotPart(result, parts)),
  ].filter((part) => part instanceof HTMLElement);
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
      ...(slide.quality ? ([["Quality", qualityText(slide.quality)]] as const) : []),
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
      ["First read", firstReadText(history)],
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

function firstReadText(history: readonly Review[]): string {
  const first = firstRead(history);
  if (!first) return "not yet";
  return `${first.diagnosis}, ${first.blind ? "without" : "with"} the model's answer in sight`;
}

function resultPart(result: SlideResult): HTMLElement {
  const suspect = suspiciousClass(result.classes);
  // A fusion's layers are its members': "patch-probability".
  const map = result.layers.find((kind) => /(^|-)probability$/.test(kind));
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
      map !== undefined &&
      h("img", {
        src: overlayUrl(result.job_id, map, suspect),
        alt: `${kindTitle(map)} of ${suspect} over the slide`,
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
        const record = review ? recordOf(review, result.job_id, index) : undefined;
        const said = record?.decision ?? (record?.seen ? "seen, not decided" : "not decided");
        return h(
          "li",
          {},
          picture,
          h("strong", {}, `${index + 1}. ${spot.class_name}, peak ${spot.score.toFixed(2)}`),
          h("span", {}, areaText(spot.area_um2)),
          h("span", {}, `Reader: ${said}`),
          record?.comment && h("span", { class: "spot-said" }, record.comment),
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

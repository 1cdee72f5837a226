import { overlayUrl } from "../api/client";
import type { ReportRun, ReportSpot, Slide } from "../api/types";
import { cssGradient } from "../pure/colourmaps";
import { squareAround, type TileLayout } from "../pure/dzi";
import { kindTitle, percent, pipelineTitle, scoreText } from "../pure/format";
import { areaText, scaleBar } from "../pure/scale";
import { h } from "../ui/dom";
import { regionPicture } from "../viewer/picture";
import { facts } from "./facts";

const SPOT_PX = 300;

/** One pipeline's answer: numbers, heatmap with its colours, hotspots that something was said of. */
export function runPart(run: ReportRun, slide: Slide, layout: TileLayout | null): HTMLElement {
  const title = pipelineTitle(run.pipeline);
  return h(
    "section",
    { class: "report-run" },
    h("h2", {}, run.earlier ? `${title}: decisions on an earlier run` : title),
    run.outcome_text !== "" && h("p", { class: "report-warning" }, run.outcome_text),
    h(
      "div",
      { class: "report-result" },
      facts([
        ...Object.entries(run.probabilities).map(
          ([name, value]) => [name, percent(value)] as const,
        ),
        ["Model", `${run.model}, weights ${run.model_digest.slice(0, 16)}`],
        ["Scored at", run.resolution],
        ...(run.finished_at
          ? ([["Finished", new Date(run.finished_at).toLocaleString()]] as const)
          : []),
      ]),
      heatmap(run),
    ),
    run.warnings.map((text) => h("p", { class: "report-note" }, text)),
    run.spots.length > 0 &&
      h(
        "ol",
        { class: "report-spots", "aria-label": `Hotspots of ${title.toLowerCase()}` },
        run.spots.map((spot) => spotPart(spot, slide, layout)),
      ),
    run.spots_note !== "" && h("p", { class: "quiet" }, run.spots_note),
  );
}

function heatmap(run: ReportRun): HTMLElement | null {
  if (!run.map) return null;
  const { kind, class_name } = run.map;
  const what = `${kindTitle(kind)} of ${class_name}`;
  const bar = h("span", { class: "report-legend-bar", "aria-hidden": "true" });
  // The service draws the picture in these colours.
  bar.style.background = cssGradient("inferno");
  return h(
    "figure",
    {},
    h("img", { src: overlayUrl(run.job_id, kind, class_name), alt: `${what} over the slide` }),
    h(
      "figcaption",
      { class: "report-legend" },
      h("span", {}, what),
      h("span", {}, "0"),
      bar,
      h("span", {}, "1"),
    ),
  );
}

function spotPart(spot: ReportSpot, slide: Slide, layout: TileLayout | null): HTMLElement {
  const said = spot.decision ?? (spot.seen ? "seen, not decided" : "not decided");
  return h(
    "li",
    {},
    picture(spot, slide, layout),
    h("strong", {}, `${spot.number}. ${spot.class_name}, peak ${scoreText(spot.score)}`),
    h("span", {}, areaText(spot.area_um2)),
    h("span", {}, `Reader: ${said}`),
    spot.comment !== "" && h("span", { class: "spot-said" }, spot.comment),
  );
}

/** The place with its outline and a scale bar. */
function picture(spot: ReportSpot, slide: Slide, layout: TileLayout | null): HTMLElement {
  const canvas = h("canvas", {
    width: SPOT_PX,
    height: SPOT_PX,
    role: "img",
    "aria-label": `Hotspot ${spot.number}`,
  });
  if (layout) regionPicture(canvas, slide.id, layout, spot);
  const square = squareAround(spot.polygon_level0);
  const scale = SPOT_PX / square.side;
  const bar = slide.mpp === null ? null : scaleBar(slide.mpp / scale, SPOT_PX / 3);
  return h(
    "div",
    { class: "spot-frame" },
    canvas,
    outline(spot, (x, y) => [(x - square.x) * scale, (y - square.y) * scale], bar?.widthPx ?? 0),
    bar && h("span", { class: "quiet" }, `Bar: ${bar.label}`),
  );
}

const SVG = "http://www.w3.org/2000/svg";

function outline(
  spot: ReportSpot,
  place: (x: number, y: number) => readonly [number, number],
  barPx: number,
): SVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${SPOT_PX} ${SPOT_PX}`);
  svg.setAttribute("aria-hidden", "true");
  const ring = document.createElementNS(SVG, "polygon");
  ring.setAttribute("points", spot.polygon_level0.map(([x, y]) => place(x, y).join()).join(" "));
  ring.setAttribute("class", "spot-outline");
  svg.append(ring);
  if (barPx > 0) {
    const bar = document.createElementNS(SVG, "rect");
    const at = { x: 14, y: SPOT_PX - 20, width: barPx, height: 6 };
    for (const [name, value] of Object.entries(at)) bar.setAttribute(name, String(value));
    bar.setAttribute("class", "spot-bar");
    svg.append(bar);
  }
  return svg;
}

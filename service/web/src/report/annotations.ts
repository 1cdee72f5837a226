import { cssColour } from "../annotations/classes";
import { highest, partsOf } from "../annotations/geometry";
import { byClass, titleOf } from "../annotations/summary";
import { sizeOf, sizeText } from "../annotations/text";
import type { Annotation } from "../annotations/types";
import { thumbnailUrl } from "../api/client";
import type { Slide } from "../api/types";
import { h } from "../ui/dom";

/** The list is to be read on paper; what is beyond it is counted, and drawn. */
const MOST_LISTED = 60;
const PICTURE_PX = 1024;
const POINT_PX = 5;

/** What readers drew: outlines on the slide as a whole, sums of each class, and each by itself. */
export function annotationPart(slide: Slide, items: readonly Annotation[]): HTMLElement | null {
  if (items.length === 0) return null;
  const rest = items.length - MOST_LISTED;
  return h(
    "section",
    {},
    h("h2", {}, "Annotations"),
    h("div", { class: "report-drawn" }, picture(slide, items), classTable(slide, items)),
    h(
      "ol",
      { class: "report-marks" },
      items
        .slice(0, MOST_LISTED)
        .map((item) =>
          h(
            "li",
            {},
            h("strong", {}, titleOf(item)),
            `, ${sizeOf(item.geometry, slide.mpp)}, ${item.author || "unnamed"}, ${new Date(item.changed_at).toLocaleString()}`,
            item.comment !== "" && h("p", { class: "spot-said" }, item.comment),
          ),
        ),
    ),
    rest > 0 &&
      h("p", { class: "quiet" }, `${rest} more are drawn and counted above, and not listed.`),
  );
}

function classTable(slide: Slide, items: readonly Annotation[]): HTMLElement {
  return h(
    "table",
    { class: "report-table" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        ["Class", "Count", "Area"].map((title) => h("th", { scope: "col" }, title)),
      ),
    ),
    h(
      "tbody",
      {},
      byClass(items).map(({ name, count, areaPx }) => {
        const swatch = h("span", { class: "swatch" });
        swatch.style.background = cssColour(name === "Length" ? "unclassified" : name);
        return h(
          "tr",
          {},
          h("td", {}, h("span", { class: "inline" }, swatch, name)),
          h("td", {}, String(count)),
          h("td", {}, areaPx > 0 ? sizeText(areaPx, slide.mpp) : "–"),
        );
      }),
    ),
  );
}

function picture(slide: Slide, items: readonly Annotation[]): HTMLElement {
  const scale = PICTURE_PX / Math.max(slide.width, slide.height);
  const canvas = h("canvas", {
    width: Math.round(slide.width * scale),
    height: Math.round(slide.height * scale),
    role: "img",
    "aria-label": `Outlines of ${items.length} annotations on the slide`,
  });
  const context = canvas.getContext("2d");
  if (!context) return canvas;
  const image = new Image();
  image.addEventListener("load", () => {
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    for (const item of items) outline(context, item, scale);
    items.slice(0, MOST_LISTED).forEach((item, index) => {
      number(context, item, scale, index + 1);
    });
  });
  image.src = thumbnailUrl(slide.id, PICTURE_PX);
  return canvas;
}

function outline(
  context: CanvasRenderingContext2D,
  { geometry, class_name }: Annotation,
  scale: number,
): void {
  const isPoints = geometry.type === "Point" || geometry.type === "MultiPoint";
  for (const { points, closed } of partsOf(geometry)) {
    context.beginPath();
    for (const [x, y] of points) {
      if (isPoints) context.moveTo(x * scale + POINT_PX, y * scale);
      if (isPoints) context.arc(x * scale, y * scale, POINT_PX, 0, 2 * Math.PI);
      else context.lineTo(x * scale, y * scale);
    }
    if (closed) context.closePath();
    for (const [colour, width] of [
      ["#fff", 5],
      [cssColour(class_name), 3],
    ] as const) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
    }
  }
}

function number(
  context: CanvasRenderingContext2D,
  { geometry }: Annotation,
  scale: number,
  value: number,
): void {
  const [x, y] = highest(geometry);
  context.font = "600 20px system-ui, sans-serif";
  context.textAlign = "center";
  context.lineWidth = 4;
  context.strokeStyle = "#fff";
  context.fillStyle = "#000";
  // Not outside the picture.
  const at = [x * scale, Math.max(18, y * scale - 7)] as const;
  context.strokeText(String(value), ...at);
  context.fillText(String(value), ...at);
}

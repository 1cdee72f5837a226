import { getBlob, getTissue, tissueUrl } from "../api/client";
import type { Slide } from "../api/types";
import { outlineEdges } from "../pure/outline";
import { decodeRaw } from "./layers";

/** Where the slide has tissue and where its quality is poor, as outlines over the slide. */

export interface TissueLayer {
  readonly name: string;
  readonly share: number;
  readonly colour: string;
  /** In level-0 pixels. */
  readonly path: Path2D;
}

/** The colours of `wsi tissue`, so that both pictures read alike. */
const COLOURS: Readonly<Record<string, string>> = {
  tissue: "rgb(0 140 60)",
  blur: "rgb(240 160 0)",
  pen: "rgb(0 90 220)",
  fold: "rgb(210 0 160)",
  dust: "rgb(90 60 30)",
  bubble: "rgb(0 180 200)",
  unreadable: "rgb(220 20 20)",
};

/** None where no pipeline has looked at the slide yet. */
export async function loadTissue(slide: Slide): Promise<TissueLayer[]> {
  const info = await getTissue(slide.id);
  if (info.layers.length === 0) return [];
  const raw = await decodeRaw(await getBlob(tissueUrl(slide.id, info.digest)));
  const [width, height] = [slide.width / raw.columns, slide.height / raw.rows];
  return info.layers.map(({ name, bit, share }) => {
    const path = new Path2D();
    for (const [x0, y0, x1, y1] of outlineEdges(raw.values, raw.columns, bit)) {
      path.moveTo(x0 * width, y0 * height);
      path.lineTo(x1 * width, y1 * height);
    }
    return { name, share, colour: COLOURS[name] ?? "rgb(120 120 120)", path };
  });
}

/** @param pixel the size of a screen pixel in the context's own units. */
export function drawTissue(
  context: CanvasRenderingContext2D,
  layers: readonly TissueLayer[],
  pixel: number,
): void {
  context.lineCap = "round";
  for (const { path, colour, name } of layers) {
    // Light under colour: seen on dark tissue as on glass.
    context.strokeStyle = "rgb(255 255 255 / .8)";
    context.lineWidth = 3.4 * pixel;
    context.stroke(path);
    context.strokeStyle = colour;
    context.lineWidth = (name === "tissue" ? 1.6 : 2.2) * pixel;
    context.stroke(path);
  }
}

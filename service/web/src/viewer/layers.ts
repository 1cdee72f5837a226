import { ApiError, getBlob, heatmapUrl } from "../api/client";
import type { SlideResult } from "../api/types";
import { colourHeatmap, type Grid, type RawHeatmap, rawFromRgba } from "../pure/heatmap";
import type { Settings } from "../settings";
import { type LayerChoice, operatingPoint } from "./choice";

/** A heatmap ready to draw: its values, where they lie, and a small picture of them in colour. */
export interface HeatLayer {
  readonly raw: RawHeatmap;
  readonly grid: Grid;
  readonly picture: HTMLCanvasElement;
  /** Score from which it is shown where the reader chose none. */
  readonly operatingPoint: number;
}

/** Heatmaps, fetched once each and coloured again whenever the reader turns a knob. */
export class HeatmapCache {
  readonly #layers = new Map<string, Promise<HeatLayer>>();
  readonly #ready = new Set<HeatLayer>();
  readonly #settings: Settings;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  get(result: SlideResult, choice: LayerChoice): Promise<HeatLayer> {
    const url = heatmapUrl(result.job_id, choice.kind, choice.className);
    let layer = this.#layers.get(url);
    if (!layer) {
      layer = this.#load(url, result, choice.kind);
      this.#layers.set(url, layer);
      // A failed one may be asked for again.
      layer.catch(() => this.#layers.delete(url));
    }
    return layer;
  }

  recolour(): void {
    for (const layer of this.#ready) this.#colour(layer);
  }

  async #load(url: string, result: SlideResult, kind: string): Promise<HeatLayer> {
    if (!result.grid) throw new ApiError(404, "missing", "This result has no heatmap.");
    const raw = await decodeRaw(await getBlob(url));
    const picture = document.createElement("canvas");
    picture.width = raw.columns;
    picture.height = raw.rows;
    const layer = { raw, grid: result.grid, picture, operatingPoint: operatingPoint(result, kind) };
    this.#colour(layer);
    this.#ready.add(layer);
    return layer;
  }

  #colour(layer: HeatLayer): void {
    const context = layer.picture.getContext("2d");
    if (!context) return;
    const image = context.createImageData(layer.raw.columns, layer.raw.rows);
    const threshold = this.#settings.threshold ?? layer.operatingPoint;
    colourHeatmap(layer.raw, this.#settings.colourMap, threshold, image.data);
    context.putImageData(image, 0, 0);
  }
}

/** The bytes of a picture as they were sent. */
export async function decodeRaw(blob: Blob): Promise<RawHeatmap> {
  // No colour management and no premultiplying: the bytes are values, not colours.
  const bitmap = await createImageBitmap(blob, {
    colorSpaceConversion: "none",
    premultiplyAlpha: "none",
  });
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("This browser has no 2D canvas.");
  context.drawImage(bitmap, 0, 0);
  const { data, width, height } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  bitmap.close();
  return rawFromRgba(data, width, height);
}

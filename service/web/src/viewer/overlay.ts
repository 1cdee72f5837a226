import OpenSeadragon from "openseadragon";
import type { Hotspot, Ring } from "../api/types";
import type { Extent } from "../pure/scale";
import type { Settings } from "../settings";
import type { HeatLayer } from "./layers";
import { drawTissue, type TissueLayer } from "./tissue";

/** What lies over the slide in one view. */
export interface OverlayContent {
  /** Left of the divider, or everywhere where there is none. */
  left: HeatLayer | null;
  /** Right of the divider. */
  right: HeatLayer | null;
  /** Share of the view's width, or null without a divider. */
  divider: number | null;
  /** Of the heatmap on either side. */
  hotspots: readonly [left: readonly Hotspot[], right: readonly Hotspot[]];
  /** Where the reader is: drawn whether the heatmap is shown or not. */
  current: CurrentHotspot | null;
  visible: boolean;
  outlines: boolean;
  tissue: readonly TissueLayer[];
}

export interface CurrentHotspot {
  readonly spot: Hotspot;
  readonly index: number;
}

export const emptyContent = (): OverlayContent => ({
  left: null,
  right: null,
  divider: null,
  hotspots: [[], []],
  current: null,
  visible: false,
  outlines: true,
  tissue: [],
});

/**
 * A canvas over an OpenSeadragon viewer, drawn again with each frame of it.
 *
 * A heatmap is one small picture; drawing it through one affine transform follows pan, zoom and
 * rotation at the display's own pace, and a new colour map costs no request and no tile.
 */
export class Overlay {
  readonly canvas = document.createElement("canvas");
  readonly #viewer: OpenSeadragon.Viewer;
  readonly #slide: Extent;
  readonly #settings: Settings;
  readonly #content: OverlayContent;
  readonly #small: boolean;

  constructor(
    viewer: OpenSeadragon.Viewer,
    slide: Extent,
    settings: Settings,
    content: OverlayContent,
    small = false,
  ) {
    this.#viewer = viewer;
    this.#slide = slide;
    this.#settings = settings;
    this.#content = content;
    this.#small = small;
    this.canvas.className = "heat-canvas";
    this.canvas.setAttribute("aria-hidden", "true");
    viewer.canvas.append(this.canvas);
    viewer.addHandler("update-viewport", () => this.draw());
    viewer.addHandler("resize", () => this.draw());
  }

  draw(): void {
    const viewport = this.#viewer.viewport;
    const context = this.canvas.getContext("2d");
    if (!viewport || !context) return;
    const size = viewport.getContainerSize();
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(size.x * ratio);
    const height = Math.round(size.y * ratio);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    const { left, right, divider, visible, tissue, current, hotspots } = this.#content;
    if (visible) {
      if (divider === null || this.#small) {
        this.#drawModel(context, left, hotspots[0], ratio);
      } else {
        const x = divider * width;
        const draw = (side: 0 | 1) => () =>
          this.#drawModel(context, [left, right][side] ?? null, hotspots[side], ratio);
        this.#clipped(context, 0, x, draw(0));
        this.#clipped(context, x, width, draw(1));
      }
    }
    if (!this.#small && tissue.length > 0) this.#drawTissue(context, tissue, ratio);
    if (!this.#small && current) {
      this.#drawHotspot(context, current.spot, current.index, true, ratio);
    }
  }

  /** The heatmap of one model and the outlines of its hotspots. */
  #drawModel(
    context: CanvasRenderingContext2D,
    layer: HeatLayer | null,
    spots: readonly Hotspot[],
    ratio: number,
  ): void {
    if (layer) this.#drawHeat(context, layer, ratio);
    if (this.#small || !this.#content.outlines) return;
    spots.forEach((spot, index) => {
      if (spot === this.#content.current?.spot) return;
      this.#drawHotspot(context, spot, index, false, ratio);
    });
  }

  #clipped(context: CanvasRenderingContext2D, from: number, to: number, action: () => void): void {
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.beginPath();
    context.rect(from, 0, to - from, this.canvas.height);
    context.clip();
    action();
    context.restore();
  }

  /** Level-0 pixels to canvas pixels. */
  #place(x: number, y: number, ratio: number): OpenSeadragon.Point {
    return this.#viewer.viewport
      .pixelFromPoint(new OpenSeadragon.Point(x / this.#slide.width, y / this.#slide.width), true)
      .times(ratio);
  }

  #drawHeat(context: CanvasRenderingContext2D, layer: HeatLayer, ratio: number): void {
    const { origin_level0: o, cell_level0: cell } = layer.grid;
    const zero = this.#place(o.x, o.y, ratio);
    const right = this.#place(o.x + cell[0] * layer.raw.columns, o.y, ratio);
    const down = this.#place(o.x, o.y + cell[1] * layer.raw.rows, ratio);
    const { columns, rows } = layer.raw;
    context.save();
    this.#clipToSlide(context, ratio);
    context.setTransform(
      (right.x - zero.x) / columns,
      (right.y - zero.y) / columns,
      (down.x - zero.x) / rows,
      (down.y - zero.y) / rows,
      zero.x,
      zero.y,
    );
    context.globalAlpha = this.#settings.opacity;
    context.imageSmoothingEnabled = this.#settings.smooth;
    context.imageSmoothingQuality = "high";
    context.drawImage(layer.picture, 0, 0);
    context.restore();
  }

  #drawTissue(
    context: CanvasRenderingContext2D,
    layers: readonly TissueLayer[],
    ratio: number,
  ): void {
    const zero = this.#place(0, 0, ratio);
    const right = this.#place(this.#slide.width, 0, ratio);
    // One level-0 pixel along x, on the canvas; along y it is the same, turned by a right angle.
    const x = (right.x - zero.x) / this.#slide.width;
    const y = (right.y - zero.y) / this.#slide.width;
    context.setTransform(x, y, -y, x, zero.x, zero.y);
    drawTissue(context, layers, ratio / Math.hypot(x, y));
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  /** Cells reach beyond the slide; nothing is there. */
  #clipToSlide(context: CanvasRenderingContext2D, ratio: number): void {
    const { width, height } = this.#slide;
    this.#trace(
      context,
      [
        [0, 0],
        [width, 0],
        [width, height],
        [0, height],
      ],
      ratio,
    );
    context.clip();
  }

  #trace(context: CanvasRenderingContext2D, ring: Ring, ratio: number, isNew = true): void {
    if (isNew) context.beginPath();
    ring.forEach(([x, y], index) => {
      const p = this.#place(x, y, ratio);
      if (index === 0) context.moveTo(p.x, p.y);
      else context.lineTo(p.x, p.y);
    });
    context.closePath();
  }

  #drawHotspot(
    context: CanvasRenderingContext2D,
    spot: Hotspot,
    index: number,
    isCurrent: boolean,
    ratio: number,
  ): void {
    this.#trace(context, spot.polygon_level0, ratio);
    for (const hole of spot.holes_level0) this.#trace(context, hole, ratio, false);
    // Dark under light: seen on tissue, on glass and on every colour map.
    context.lineJoin = "round";
    context.strokeStyle = "rgba(0,0,0,.75)";
    context.lineWidth = (isCurrent ? 5 : 3.2) * ratio;
    context.stroke();
    context.strokeStyle = isCurrent ? "#ffd60a" : "#ffffff";
    context.lineWidth = (isCurrent ? 2.6 : 1.4) * ratio;
    context.stroke();
    this.#drawNumber(context, spot, index, isCurrent, ratio);
  }

  #drawNumber(
    context: CanvasRenderingContext2D,
    spot: Hotspot,
    index: number,
    isCurrent: boolean,
    ratio: number,
  ): void {
    const top = spot.polygon_level0.reduce((best, [x, y]) => {
      const p = this.#place(x, y, ratio);
      return p.y < best.y ? p : best;
    }, new OpenSeadragon.Point(0, Number.POSITIVE_INFINITY));
    if (!Number.isFinite(top.y)) return;
    const radius = 9 * ratio;
    const y = top.y - radius - 2 * ratio;
    context.beginPath();
    context.arc(top.x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = isCurrent ? "#ffd60a" : "rgba(20,24,28,.85)";
    context.fill();
    context.lineWidth = 1.2 * ratio;
    context.strokeStyle = isCurrent ? "rgba(0,0,0,.8)" : "#fff";
    context.stroke();
    context.fillStyle = isCurrent ? "#000" : "#fff";
    context.font = `600 ${11 * ratio}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(String(index + 1), top.x, y + 0.5 * ratio);
  }
}

import OpenSeadragon from "openseadragon";
import type { Hotspot } from "../api/types";
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
  hotspots: readonly Hotspot[];
  current: number | null;
  visible: boolean;
  outlines: boolean;
  tissue: readonly TissueLayer[];
}

export const emptyContent = (): OverlayContent => ({
  left: null,
  right: null,
  divider: null,
  hotspots: [],
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
  readonly #slideWidth: number;
  readonly #settings: Settings;
  readonly #content: OverlayContent;
  readonly #small: boolean;

  constructor(
    viewer: OpenSeadragon.Viewer,
    slideWidth: number,
    settings: Settings,
    content: OverlayContent,
    small = false,
  ) {
    this.#viewer = viewer;
    this.#slideWidth = slideWidth;
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
    const { left, right, divider, visible, tissue } = this.#content;
    if (visible) {
      if (divider === null || this.#small) {
        if (left) this.#drawHeat(context, left, ratio);
      } else {
        const x = divider * width;
        this.#clipped(context, 0, x, () => left && this.#drawHeat(context, left, ratio));
        this.#clipped(context, x, width, () => right && this.#drawHeat(context, right, ratio));
      }
      if (!this.#small && this.#content.outlines) this.#drawHotspots(context, ratio);
    }
    if (!this.#small && tissue.length > 0) this.#drawTissue(context, tissue, ratio);
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
      .pixelFromPoint(new OpenSeadragon.Point(x / this.#slideWidth, y / this.#slideWidth), true)
      .times(ratio);
  }

  #drawHeat(context: CanvasRenderingContext2D, layer: HeatLayer, ratio: number): void {
    const { origin_level0: o, cell_level0: cell } = layer.grid;
    const zero = this.#place(o.x, o.y, ratio);
    const right = this.#place(o.x + cell[0] * layer.raw.columns, o.y, ratio);
    const down = this.#place(o.x, o.y + cell[1] * layer.raw.rows, ratio);
    const { columns, rows } = layer.raw;
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
    context.globalAlpha = 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  #drawTissue(
    context: CanvasRenderingContext2D,
    layers: readonly TissueLayer[],
    ratio: number,
  ): void {
    const zero = this.#place(0, 0, ratio);
    const right = this.#place(this.#slideWidth, 0, ratio);
    // One level-0 pixel along x, on the canvas; along y it is the same, turned by a right angle.
    const x = (right.x - zero.x) / this.#slideWidth;
    const y = (right.y - zero.y) / this.#slideWidth;
    context.setTransform(x, y, -y, x, zero.x, zero.y);
    drawTissue(context, layers, ratio / Math.hypot(x, y));
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  #drawHotspots(context: CanvasRenderingContext2D, ratio: number): void {
    this.#content.hotspots.forEach((spot, index) => {
      const isCurrent = index === this.#content.current;
      context.beginPath();
      for (const [x, y] of spot.polygon_level0) {
        const p = this.#place(x, y, ratio);
        context.lineTo(p.x, p.y);
      }
      context.closePath();
      // Dark under light: seen on tissue, on glass and on every colour map.
      context.lineJoin = "round";
      context.strokeStyle = "rgba(0,0,0,.75)";
      context.lineWidth = (isCurrent ? 5 : 3.2) * ratio;
      context.stroke();
      context.strokeStyle = isCurrent ? "#ffd60a" : "#ffffff";
      context.lineWidth = (isCurrent ? 2.6 : 1.4) * ratio;
      context.stroke();
      this.#drawNumber(context, spot, index, isCurrent, ratio);
    });
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

import type OpenSeadragon from "openseadragon";
import type { Hotspot } from "../api/types";

/** A small picture of a place, put together from the slide's own tiles. */

/** The square of level-0 pixels around a hotspot that its picture shows. */
export function squareAround(spot: Hotspot): { x: number; y: number; side: number } {
  const xs = spot.polygon_level0.map(([x]) => x);
  const ys = spot.polygon_level0.map(([, y]) => y);
  const left = Math.min(...xs);
  const top = Math.min(...ys);
  const width = Math.max(...xs) - left;
  const height = Math.max(...ys) - top;
  const side = Math.max(width, height, 256) * 1.15;
  return { x: left + width / 2 - side / 2, y: top + height / 2 - side / 2, side };
}

export function regionPicture(
  canvas: HTMLCanvasElement,
  source: OpenSeadragon.TileSource,
  spot: Hotspot,
): void {
  const context = canvas.getContext("2d");
  if (!context) return;
  const { x, y, side } = squareAround(spot);
  const perPixel = canvas.width / side;
  // The coarsest level that still has a pixel for each of the picture's.
  const up = Math.max(0, Math.floor(Math.log2(1 / perPixel)));
  const level = Math.max(source.minLevel, source.maxLevel - up);
  const scale = 2 ** (level - source.maxLevel);
  const tile = source.getTileWidth(level);
  const overlap = source.tileOverlap;
  const { x: columns, y: rows } = source.getNumTiles(level);
  const first = (value: number) => Math.max(0, Math.floor((value * scale) / tile));
  const last = (value: number, count: number) =>
    Math.min(count - 1, Math.floor((value * scale) / tile));
  for (let row = first(y); row <= last(y + side, rows); row++) {
    for (let column = first(x); column <= last(x + side, columns); column++) {
      const image = new Image();
      image.addEventListener("load", () => {
        const left = (column * tile - (column > 0 ? overlap : 0)) / scale - x;
        const top = (row * tile - (row > 0 ? overlap : 0)) / scale - y;
        const zoom = perPixel / scale;
        context.drawImage(
          image,
          left * perPixel,
          top * perPixel,
          image.naturalWidth * zoom,
          image.naturalHeight * zoom,
        );
      });
      const url = source.getTileUrl(level, column, row);
      image.src = typeof url === "string" ? url : url();
    }
  }
}

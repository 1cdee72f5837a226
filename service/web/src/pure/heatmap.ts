import { type ColourMapName, colourTable } from "./colourmaps";

/** A heatmap as the service sends it: one byte a cell, and whether the cell has a value at all. */
export interface RawHeatmap {
  readonly columns: number;
  readonly rows: number;
  /** round(255 * value), row by row. */
  readonly values: Uint8Array;
  /** 0 where nothing was looked at, else 255. */
  readonly present: Uint8Array;
}

/** Where the cells lie, in level-0 pixels. */
export interface Grid {
  readonly origin_level0: { readonly x: number; readonly y: number };
  readonly cell_level0: readonly [number, number];
  readonly shape: readonly [number, number];
  readonly mpp: number;
}

/** Split decoded RGBA pixels of a grey-and-alpha picture into values and presence. */
export function rawFromRgba(
  rgba: Uint8ClampedArray | Uint8Array,
  columns: number,
  rows: number,
): RawHeatmap {
  const count = columns * rows;
  if (rgba.length !== count * 4) throw new RangeError("pixels do not fit the heatmap's size");
  const values = new Uint8Array(count);
  const present = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    values[i] = rgba[i * 4] ?? 0;
    present[i] = (rgba[i * 4 + 3] ?? 0) > 127 ? 255 : 0;
  }
  return { columns, rows, values, present };
}

/**
 * Colour a heatmap into `out` (RGBA). Cells without a value or below the threshold are transparent.
 *
 * @param threshold in [0, 1]; a cell of exactly this value is shown.
 */
export function colourHeatmap(
  raw: RawHeatmap,
  map: ColourMapName,
  threshold: number,
  out: Uint8ClampedArray,
): void {
  const table = colourTable(map);
  const least = Math.ceil(threshold * 255 - 1e-6);
  for (let i = 0; i < raw.values.length; i++) {
    const value = raw.values[i] ?? 0;
    const at = i * 4;
    if (raw.present[i] === 0 || value < least) {
      out[at + 3] = 0;
      continue;
    }
    out[at] = table[value * 3] ?? 0;
    out[at + 1] = table[value * 3 + 1] ?? 0;
    out[at + 2] = table[value * 3 + 2] ?? 0;
    out[at + 3] = 255;
  }
}

/**
 * The value in [0, 1] under a level-0 point, or null where there is none. Cells may reach beyond the
 * slide; there is nothing to read there.
 */
export function valueAt(
  raw: RawHeatmap,
  grid: Grid,
  slide: { readonly width: number; readonly height: number },
  x: number,
  y: number,
): number | null {
  if (x < 0 || y < 0 || x >= slide.width || y >= slide.height) return null;
  const column = Math.floor((x - grid.origin_level0.x) / grid.cell_level0[0]);
  const row = Math.floor((y - grid.origin_level0.y) / grid.cell_level0[1]);
  if (column < 0 || row < 0 || column >= raw.columns || row >= raw.rows) return null;
  const i = row * raw.columns + column;
  return raw.present[i] ? (raw.values[i] ?? 0) / 255 : null;
}

import { describe, expect, it } from "vitest";
import { COLOUR_MAPS, colourTable, cssGradient, isColourMap } from "../src/pure/colourmaps";
import { colourHeatmap, type Grid, rawFromRgba, valueAt } from "../src/pure/heatmap";

/** Relative luminance of sRGB (WCAG 2.2). */
function luminance(table: Uint8Array, value: number): number {
  const linear = [0, 1, 2].map((c) => {
    const s = (table[value * 3 + c] ?? 0) / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * (linear[0] ?? 0) + 0.7152 * (linear[1] ?? 0) + 0.0722 * (linear[2] ?? 0);
}

describe("colour maps", () => {
  it.each(COLOUR_MAPS)("%s grows lighter with the value, so it reads without hue", (name) => {
    const table = colourTable(name);
    for (let value = 4; value < 256; value += 4) {
      expect(luminance(table, value)).toBeGreaterThan(luminance(table, value - 4));
    }
  });

  it("gives viridis the ends that matplotlib gives it", () => {
    const table = colourTable("viridis");
    expect([...table.slice(0, 3)]).toEqual([0x44, 0x01, 0x54]);
    expect([...table.slice(765)]).toEqual([0xfd, 0xe7, 0x25]);
  });

  it("runs the same colours in the legend as in the heatmap", () => {
    expect(cssGradient("viridis")).toMatch(/^linear-gradient\(to right, #440154, .*#fde725\)$/);
  });

  it("knows its own names only", () => {
    expect(isColourMap("viridis")).toBe(true);
    expect(isColourMap("jet")).toBe(false);
    expect(isColourMap(null)).toBe(false);
  });
});

const raw = rawFromRgba(
  Uint8Array.from(
    [
      [0, 255],
      [76, 255],
      [77, 255],
      [255, 255],
      [200, 0],
      [128, 255],
    ].flatMap(([l = 0, a = 0]) => [l, l, l, a]),
  ),
  3,
  2,
);
const grid: Grid = {
  origin_level0: { x: 100, y: 50 },
  cell_level0: [10, 20],
  shape: [2, 3],
  mpp: 5,
};
const slide = { width: 1000, height: 1000 };

describe("heatmap", () => {
  it("hides cells below the threshold and cells without a value, and no others", () => {
    const out = new Uint8ClampedArray(6 * 4);
    colourHeatmap(raw, "viridis", 0.3, out);
    expect([...out].filter((_, i) => i % 4 === 3)).toEqual([0, 0, 255, 255, 0, 255]);
  });

  it("shows everything that has a value at threshold 0", () => {
    const out = new Uint8ClampedArray(6 * 4);
    colourHeatmap(raw, "inferno", 0, out);
    expect([...out].filter((_, i) => i % 4 === 3)).toEqual([255, 255, 255, 255, 0, 255]);
  });

  it("shows only full scores at threshold 1", () => {
    const out = new Uint8ClampedArray(6 * 4);
    colourHeatmap(raw, "inferno", 1, out);
    expect([...out].filter((_, i) => i % 4 === 3)).toEqual([0, 0, 0, 255, 0, 0]);
  });

  it("colours a value as the table says", () => {
    const out = new Uint8ClampedArray(6 * 4);
    colourHeatmap(raw, "cividis", 0, out);
    expect([...out.slice(12, 15)]).toEqual([...colourTable("cividis").slice(765)]);
  });

  it("reads the value of the cell under a level-0 point", () => {
    expect(valueAt(raw, grid, slide, 100, 50)).toBe(0);
    expect(valueAt(raw, grid, slide, 119.9, 69.9)).toBeCloseTo(76 / 255);
    expect(valueAt(raw, grid, slide, 125, 80)).toBeCloseTo(128 / 255);
  });

  it("says of a place outside the grid or without tissue that it has no value", () => {
    expect(valueAt(raw, grid, slide, 99.9, 50)).toBeNull();
    expect(valueAt(raw, grid, slide, 131, 50)).toBeNull();
    expect(valueAt(raw, grid, slide, 100, 90)).toBeNull();
    expect(valueAt(raw, grid, slide, 115, 75)).toBeNull();
  });

  it("reads nothing where a cell reaches beyond the slide", () => {
    const narrow = { width: 118, height: 75 };
    expect(valueAt(raw, grid, narrow, 117.9, 69.9)).toBeCloseTo(76 / 255);
    expect(valueAt(raw, grid, narrow, 118, 69.9)).toBeNull();
    expect(valueAt(raw, grid, narrow, 105, 75)).toBeNull();
    const early = { ...grid, origin_level0: { x: -10, y: -10 } };
    expect(valueAt(raw, early, slide, -1, 0)).toBeNull();
  });

  it("refuses pixels that do not fit the stated size", () => {
    expect(() => rawFromRgba(new Uint8Array(8), 3, 2)).toThrow(RangeError);
  });
});

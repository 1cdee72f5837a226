import { describe, expect, it } from "vitest";
import { parseDzi, squareAround, type TileLayout, tilesFor } from "../src/pure/dzi";

const layout: TileLayout = {
  width: 4096,
  height: 3072,
  tilePx: 254,
  overlapPx: 1,
  format: "jpeg",
};

describe("deep zoom", () => {
  it("reads a descriptor", () => {
    const xml =
      '<Image Format="jpeg" Overlap="1" TileSize="254"><Size Height="3072" Width="4096"/></Image>';
    expect(parseDzi(xml)).toEqual(layout);
    expect(parseDzi("<html>")).toBeNull();
  });

  it("covers the whole square with tiles and no more", () => {
    const square = { x: 1000, y: 700, side: 512 };
    const tiles = tilesFor(layout, square, 128);
    expect(new Set(tiles.map((tile) => tile.level))).toEqual(new Set([10]));
    const px = (tile: { scale: number }) => 254 * tile.scale;
    expect(Math.min(...tiles.map((t) => t.x))).toBeLessThanOrEqual(0);
    expect(Math.max(...tiles.map((t) => t.x + px(t) + t.scale))).toBeGreaterThanOrEqual(128);
    expect(tiles.length).toBeLessThanOrEqual(4);
  });

  it("places a tile at the pixel where its content lies", () => {
    const [tile] = tilesFor(layout, { x: 254, y: 508, side: 254 }, 254);
    expect(tile).toEqual({ level: 12, column: 1, row: 2, x: -1, y: -1, scale: 1 });
  });

  it("stays inside the slide where the square reaches beyond it", () => {
    const tiles = tilesFor(layout, { x: -500, y: 2900, side: 1000 }, 250);
    expect(tiles.every((tile) => tile.column >= 0 && tile.row >= 0)).toBe(true);
    expect(Math.max(...tiles.map((tile) => tile.row))).toBeLessThanOrEqual(3);
  });

  it("puts a ring in the middle of its square", () => {
    const square = squareAround([
      [100, 100],
      [1100, 100],
      [1100, 600],
    ]);
    expect(square.side).toBeCloseTo(1150);
    expect(square.x + square.side / 2).toBeCloseTo(600);
    expect(square.y + square.side / 2).toBeCloseTo(350);
  });
});

/** Deep Zoom arithmetic: which tiles show a rectangle. */

export interface TileLayout {
  readonly width: number;
  readonly height: number;
  readonly tilePx: number;
  readonly overlapPx: number;
  readonly format: string;
}

export interface PlacedTile {
  readonly level: number;
  readonly column: number;
  readonly row: number;
  /** Where the tile's top left lies, and the scale of its pixels, in pixels of the wanted picture. */
  readonly x: number;
  readonly y: number;
  readonly scale: number;
}

/** A square of level-0 pixels. */
export interface Square {
  readonly x: number;
  readonly y: number;
  readonly side: number;
}

/** Read a Deep Zoom descriptor. Null where it is none. */
export function parseDzi(xml: string): TileLayout | null {
  const read = (name: string) => new RegExp(`\\b${name}="([^"]*)"`).exec(xml)?.[1] ?? "";
  const layout = {
    width: Number(read("Width")),
    height: Number(read("Height")),
    tilePx: Number(read("TileSize")),
    overlapPx: Number(read("Overlap")),
    format: read("Format"),
  };
  return layout.width > 0 && layout.height > 0 && layout.tilePx > 0 ? layout : null;
}

/** The tiles that show this square in a picture of `px` pixels, at the coarsest level that is fine enough. */
export function tilesFor(layout: TileLayout, square: Square, px: number): PlacedTile[] {
  const maxLevel = Math.ceil(Math.log2(Math.max(layout.width, layout.height)));
  const perPixel = px / square.side;
  const down = Math.max(0, Math.min(maxLevel, Math.floor(Math.log2(1 / perPixel))));
  const shrink = 2 ** down;
  const [columns, rows] = [layout.width, layout.height].map((length) =>
    Math.ceil(Math.ceil(length / shrink) / layout.tilePx),
  ) as [number, number];
  const span = (from: number, count: number): [number, number] => [
    Math.max(0, Math.floor(from / shrink / layout.tilePx)),
    Math.min(count - 1, Math.floor((from + square.side) / shrink / layout.tilePx)),
  ];
  const [left, right] = span(square.x, columns);
  const [top, bottom] = span(square.y, rows);
  const start = (index: number) =>
    (index * layout.tilePx - (index > 0 ? layout.overlapPx : 0)) * shrink;
  const tiles: PlacedTile[] = [];
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++) {
      tiles.push({
        level: maxLevel - down,
        column,
        row,
        x: (start(column) - square.x) * perPixel,
        y: (start(row) - square.y) * perPixel,
        scale: shrink * perPixel,
      });
    }
  }
  return tiles;
}

/** The square around a ring of points, with room around it and never less than 256 pixels. */
export function squareAround(ring: readonly (readonly [number, number])[]): Square {
  const xs = ring.map(([x]) => x);
  const ys = ring.map(([, y]) => y);
  const left = Math.min(...xs);
  const top = Math.min(...ys);
  const width = Math.max(...xs) - left;
  const height = Math.max(...ys) - top;
  const side = Math.max(width, height, 256) * 1.15;
  return { x: left + width / 2 - side / 2, y: top + height / 2 - side / 2, side };
}

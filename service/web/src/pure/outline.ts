/** Outlines of a mask, along the edges of its cells. */

/** A straight piece of an outline in cells: from (x0, y0) to (x1, y1). */
export type Edge = readonly [x0: number, y0: number, x1: number, y1: number];

/**
 * The edges between cells that have the bit and cells that have not, runs joined to long pieces.
 *
 * @param cells row by row, `columns` a row.
 */
export function outlineEdges(cells: Uint8Array, columns: number, bit: number): Edge[] {
  const rows = cells.length / columns;
  const has = (x: number, y: number): boolean =>
    x >= 0 && y >= 0 && x < columns && y < rows && ((cells[y * columns + x] ?? 0) & bit) !== 0;
  return [
    ...runs(rows + 1, columns, (y, x) => has(x, y) !== has(x, y - 1)).map(
      ([y, from, to]): Edge => [from, y, to, y],
    ),
    ...runs(columns + 1, rows, (x, y) => has(x, y) !== has(x - 1, y)).map(
      ([x, from, to]): Edge => [x, from, x, to],
    ),
  ];
}

/** [line, from, to) of every run of edges, line by line. */
function runs(
  lines: number,
  length: number,
  isEdge: (line: number, at: number) => boolean,
): [number, number, number][] {
  const found: [number, number, number][] = [];
  for (let line = 0; line < lines; line++) {
    let start = -1;
    for (let at = 0; at <= length; at++) {
      const on = at < length && isEdge(line, at);
      if (on && start < 0) start = at;
      else if (!on && start >= 0) {
        found.push([line, start, at]);
        start = -1;
      }
    }
  }
  return found;
}

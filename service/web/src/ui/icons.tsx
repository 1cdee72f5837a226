/** Line icons on a 20 x 20 grid, drawn for this page. */

const PATHS = {
  back: "M12 4l-6 6 6 6",
  upload: "M10 13V4m0 0L6.5 7.5M10 4l3.5 3.5M4 13v3h12v-3",
  play: "M6 4.5v11l9-5.5z",
  plus: "M10 4v12M4 10h12",
  minus: "M4 10h12",
  fit: "M4 7V4h3M13 4h3v3M16 13v3h-3M7 16H4v-3",
  rotateLeft: "M5 8a6 6 0 1 1-.6 4M5 4v4h4",
  rotateRight: "M15 8a6 6 0 1 0 .6 4M15 4v4h-4",
  split: "M3.5 4.5h13v11h-13zM10 4.5v11",
  swipe: "M10 3v14M6.5 7.5L4 10l2.5 2.5M13.5 7.5L16 10l-2.5 2.5",
  help: "M7.6 7.6a2.4 2.4 0 1 1 3.4 2.2c-.7.3-1 .8-1 1.6M10 14.2v.1",
  close: "M5 5l10 10M15 5L5 15",
  check: "M4.5 10.5l3.5 3.5 7.5-8",
  next: "M8 4l6 6-6 6",
  layers: "M10 3l7 4-7 4-7-4zM3 11l7 4 7-4",
  print: "M6 8V3.5h8V8M6 14H3.5V8h13v6H14M6 11.5h8v5H6z",
  search: "M9 4a5 5 0 1 0 0 10A5 5 0 0 0 9 4zM12.7 12.7L16.5 16.5",
  alert: "M10 3.5l7.5 13h-15zM10 8.5v3.5M10 14.3v.1",
  stop: "M5.5 5.5h9v9h-9z",
  retry: "M15.5 8A6 6 0 1 0 16 11M15.5 4v4h-4",
} as const;

export type IconName = keyof typeof PATHS;

export function icon(name: IconName, size = 18): SVGSVGElement {
  return drawing(PATHS[name], size);
}

/** A line drawing of a path in a square of 20. */
export function drawing(line: string, size = 18): SVGSVGElement {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  for (const [key, value] of Object.entries({
    viewBox: "0 0 20 20",
    width: String(size),
    height: String(size),
    fill: "none",
    stroke: "currentColor",
    "stroke-width": "1.6",
    "stroke-linecap": "round",
    "stroke-linejoin": "round",
    "aria-hidden": "true",
  })) {
    svg.setAttribute(key, value);
  }
  const path = document.createElementNS(ns, "path");
  path.setAttribute("d", line);
  svg.append(path);
  return svg;
}

/** The same for JSX. */
export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg
      viewBox="0 0 20 20"
      width={size}
      height={size}
      fill="none"
      stroke="currentColor"
      stroke-width="1.6"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}

/** Numbers and times for people. */

/** A probability as a percentage that never claims certainty: "< 0.1 %", "> 99.9 %". */
export function percent(value: number): string {
  if (value < 0.001) return "< 0.1 %";
  if (value > 0.999) return "> 99.9 %";
  return `${(value * 100).toFixed(1)} %`;
}

/** The same of a value that has no more than 256 steps: whole percent, "< 1 %", "> 99 %". */
export function coarsePercent(value: number): string {
  if (value < 0.01) return "< 1 %";
  if (value > 0.99) return "> 99 %";
  return `${Math.round(value * 100)} %`;
}

/** A score of two digits that never claims certainty: "< 0.01", "> 0.99". */
export function scoreText(value: number): string {
  if (value < 0.01) return "< 0.01";
  if (value > 0.99) return "> 0.99";
  return value.toFixed(2);
}

export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function seconds(value: number): string {
  if (value < 0.0995) return `${Math.round(value * 1000)} ms`;
  if (value < 59.5) return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} s`;
  const minutes = Math.floor(Math.round(value) / 60);
  const rest = Math.round(value) % 60;
  return minutes < 60
    ? `${minutes} min ${rest} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function pixels(width: number, height: number): string {
  const group = (n: number) => n.toLocaleString("en-US").replaceAll(",", "\u202f");
  return `${group(width)} × ${group(height)}`;
}

export function mppText(mpp: number | null): string {
  return mpp === null ? "unknown" : `${Number(mpp.toPrecision(4))} µm/px`;
}

/** "patch" -> "Patch", "whole-slide" -> "Whole slide". */
export function pipelineTitle(name: string): string {
  const words = name.replaceAll(/[-_]/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

const KINDS: Readonly<Record<string, string>> = {
  probability: "Probability",
  gradcam: "Grad-CAM",
  attention: "Attention",
};

export function kindTitle(kind: string): string {
  return KINDS[kind] ?? pipelineTitle(kind);
}

/** "2 min ago"; a date for what is older than a week. */
export function ago(iso: string, now: number): string {
  const then = Date.parse(iso);
  if (Number.isNaN(then)) return "";
  const s = Math.max(0, (now - then) / 1000);
  if (s < 60) return "just now";
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  if (s < 7 * 86400) return `${Math.floor(s / 86400)} d ago`;
  return new Date(then).toISOString().slice(0, 10);
}

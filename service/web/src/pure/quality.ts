import type { Quality } from "../api/types";

/** How good a slide is, in words for a list. */

const NAMES: Readonly<Record<string, string>> = {
  tissue: "tissue",
  blur: "out of focus",
  pen: "pen marks",
  fold: "folds",
  dust: "dust",
  bubble: "air bubbles",
  unreadable: "unreadable",
};

/** Less than this is not worth a reader's attention in a list. */
const WORTH_SAYING = 0.02;

export const layerTitle = (name: string): string => NAMES[name] ?? name;

export const shareText = (share: number): string =>
  share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`;

/** What covers the most tissue, worst first: "out of focus 43 %, folds 5 %". */
export function troubles(quality: Quality): string {
  return Object.entries(quality.shares)
    .filter(([, share]) => share >= WORTH_SAYING)
    .sort(([, a], [, b]) => b - a)
    .map(([name, share]) => `${layerTitle(name)} ${shareText(share)}`)
    .join(", ");
}

export function qualityText(quality: Quality): string {
  const usable = `${shareText(quality.usable_share)} of the tissue usable`;
  const parts = [quality.flagged ? "poor" : "", usable, troubles(quality)].filter(Boolean);
  return parts.join("; ");
}

/** The colour of a class; the service has the same rule for files (wsi/annotations/colours.py). */

type Colour = readonly [number, number, number];

const KNOWN: Readonly<Record<string, Colour>> = {
  cancer: [200, 0, 0],
  tumor: [200, 0, 0],
  tumour: [200, 0, 0],
  positive: [200, 0, 0],
  benign: [0, 130, 60],
  normal: [0, 130, 60],
  negative: [0, 130, 60],
  stroma: [20, 110, 190],
  "immune cells": [130, 60, 180],
  necrosis: [90, 90, 90],
  artefact: [150, 90, 20],
  background: [110, 110, 140],
  unclassified: [70, 80, 95],
};

const REST: readonly Colour[] = [
  [200, 90, 0],
  [0, 120, 130],
  [170, 30, 120],
  [70, 70, 190],
  [110, 110, 0],
  [120, 50, 50],
];

export function colourOf(className: string): Colour {
  const word = className.trim().toLowerCase();
  const known = Object.hasOwn(KNOWN, word) ? KNOWN[word] : undefined;
  if (known) return known;
  const letters = [...word.replace(/[^a-z0-9]/g, "")];
  const sum = letters.reduce((total, letter) => total + letter.charCodeAt(0), 0);
  return REST[sum % REST.length] ?? [0, 0, 0];
}

export const cssColour = (className: string, alpha = 1): string =>
  `rgb(${colourOf(className).join(" ")} / ${alpha})`;

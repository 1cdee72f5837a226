/**
 * Perceptually uniform colour maps that readers with colour vision deficiency can tell apart.
 *
 * 33 evenly spaced colours each (from matplotlib), joined by straight lines.
 */

const ANCHORS = {
  viridis:
    "440154470d6048186a482374472d7b4537814240863e49893b528b375b8d33638d" +
    "2f6b8e2c728e297a8e26828e23898e21918c1f988b1fa08822a78528ae8032b67a" +
    "3fbc734ec36b5ec96270cf5784d44b98d83eaddc30c2df23d8e219ece51bfde725",
  cividis:
    "00224e00285b002e6a0533711a386f273e6e32436d3b496c434e6c4b546c535a6d" +
    "5a5f6e61656f686a716f70737676767d7c788482798c8878938e789b9476a39a74" +
    "aba072b4a76fbcae6cc4b468cdbb63d5c25edec958e7d150f0d846f9e03afee838",
  inferno:
    "0000040403120b0724150b37210c4a2f0a5b3d09654a0c6b57106e64156e71196e" +
    "7d1e6d8a226a972766a32c61b0315bbc3754c73e4cd24644db503be45a31eb6628" +
    "f1731df68013f98e09fb9d07fcac11fbbc21f9cb35f5db4cf2ea69f3f68afcffa4",
  magma:
    "0000040303120a0822130d341d114729115a36106b440f7651127c5d177f6a1c81" +
    "762181832681902a819c2e7faa337db73779c43c75d0416fdc4869e75263ef5d5e" +
    "f56b5cf9795dfc8961fd9869fea772feb67cfec488fed395fde2a3fcf0b2fcfdbf",
} as const;

export type ColourMapName = keyof typeof ANCHORS;

export const COLOUR_MAPS: readonly ColourMapName[] = ["viridis", "cividis", "inferno", "magma"];

/** 256 x 3 bytes: the colour of each 8-bit value. */
export function colourTable(name: ColourMapName): Uint8Array {
  const hex = ANCHORS[name];
  const last = hex.length / 6 - 1;
  const channel = (anchor: number, c: number) =>
    Number.parseInt(hex.slice(anchor * 6 + c * 2, anchor * 6 + c * 2 + 2), 16);
  const table = new Uint8Array(256 * 3);
  for (let value = 0; value < 256; value++) {
    const at = (value / 255) * last;
    const low = Math.min(Math.floor(at), last - 1);
    for (let c = 0; c < 3; c++) {
      const from = channel(low, c);
      table[value * 3 + c] = Math.round(from + (channel(low + 1, c) - from) * (at - low));
    }
  }
  return table;
}

/** A CSS gradient from 0 (left) to 1 (right). */
export function cssGradient(name: ColourMapName): string {
  const hex = ANCHORS[name];
  const stops = Array.from({ length: 9 }, (_, i) => `#${hex.slice(i * 24, i * 24 + 6)}`);
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

export function isColourMap(name: unknown): name is ColourMapName {
  return typeof name === "string" && name in ANCHORS;
}

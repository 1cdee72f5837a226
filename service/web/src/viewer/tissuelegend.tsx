import { layerTitle, shareText } from "../pure/quality";
import type { TissueLayer } from "./tissue";

/** What each colour of the tissue outlines means; only what the slide has. */
export function TissueLegend({ layers }: { layers: readonly TissueLayer[] }) {
  const shown = layers.filter(({ name, share }) => name === "tissue" || share > 0);
  return (
    <ul class="tissue-legend" aria-label="Tissue and quality">
      {layers.length === 0 && <li class="quiet">Outlines appear once the slide is scored.</li>}
      {shown.map(({ name, share, colour }) => (
        <li key={name}>
          <span class="swatch" aria-hidden="true" style={{ background: colour }} />
          {`${layerTitle(name)}: ${shareText(share)} of the ${name === "tissue" ? "slide" : "tissue"}`}
        </li>
      ))}
    </ul>
  );
}

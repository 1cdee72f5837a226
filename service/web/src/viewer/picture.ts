import { API } from "../api/client";
import type { Hotspot } from "../api/types";
import { squareAround, type TileLayout, tilesFor } from "../pure/dzi";

/** Draw a small picture of a place, put together from the slide's own tiles. */
export function regionPicture(
  canvas: HTMLCanvasElement,
  slideId: string,
  layout: TileLayout,
  spot: Pick<Hotspot, "polygon_level0">,
): void {
  const context = canvas.getContext("2d");
  if (!context) return;
  for (const tile of tilesFor(layout, squareAround(spot.polygon_level0), canvas.width)) {
    const image = new Image();
    image.addEventListener("load", () => {
      const { naturalWidth: width, naturalHeight: height } = image;
      context.drawImage(image, tile.x, tile.y, width * tile.scale, height * tile.scale);
    });
    image.src = `${API}/slides/${slideId}/slide_files/${tile.level}/${tile.column}_${tile.row}.${layout.format}`;
  }
}

#!/usr/bin/env bash
# A tiled TIFF with Orientation 3 (turned by 180 degrees), read by OpenSlide.
# Expected: the upright picture, the picture as stored, or an error.
# Seen: with LZW tiles each tile is turned by itself and stays where it was, so the picture is scrambled, without
# an error (libtiff's TIFFRGBAImage turns what it is asked for, and OpenSlide asks for one tile at a time). With JPEG
# tiles, which OpenSlide decodes itself, the tag is ignored: one picture, two answers by its compression.
# Exits non-zero if this changes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q openslide-python==1.4.7 openslide-bin==4.0.1.2 tifffile==2026.3.3 imagecodecs==2026.3.6 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import importlib.metadata

import numpy as np
import openslide
import tifffile

for name in ("openslide-python", "openslide-bin", "tifffile", "imagecodecs"):
    print(name, importlib.metadata.version(name))
print("OpenSlide", openslide.__library_version__)

y, x = np.mgrid[0:512, 0:768]
stored = np.stack([x // 3, y // 2, (x + y) // 5], -1).astype(np.uint8)
tiles_turned = np.concatenate(
    [
        np.concatenate([stored[r : r + 256, c : c + 256][::-1, ::-1] for c in range(0, 768, 256)], 1)
        for r in range(0, 512, 256)
    ]
)
answers = {"upright": stored[::-1, ::-1], "as stored": stored, "each tile turned in place": tiles_turned}
seen = {}
for compression in ("lzw", "jpeg"):
    tifffile.imwrite(
        f"{compression}.tif", stored, tile=(256, 256), photometric="rgb", compression=compression,
        metadata=None, extratags=[(274, "H", 1, 3, True)],
    )
    with openslide.OpenSlide(f"{compression}.tif") as slide:
        got = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB")).astype(int)
    off = {name: np.abs(got - picture).mean() for name, picture in answers.items()}
    seen[compression] = min(off, key=off.get)
    print(f"{compression}: {seen[compression]} (mean difference {off[seen[compression]]:.2f} grey levels)")
    assert off[seen[compression]] < 2, off
raise SystemExit(seen != {"lzw": "each tile turned in place", "jpeg": "as stored"})
PYTHON

#!/usr/bin/env bash
# Level 1 of a slide whose size is odd, so that its downsample is no whole number (4.0037), read tile by tile by
# OpenSlide's read_region, which takes the place in level-0 pixels.
# Expected: the level's stored pixels, at the place that is nearest to the one asked for.
# Seen: (1) most places give a mean of neighbouring stored pixels (shifted by up to an eighth of a pixel): there is no
# argument with which those tiles can be had as they are stored. (2) Left of the slide the picture is off by one whole
# pixel: from location -round(n * downsample), which is n pixels of the level, it begins at column n - 1 for many n
# (openslide.c: tx = (-x) / ds, cut off to a whole number).
# Exits non-zero if this changes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q openslide-python==1.4.7 openslide-bin==4.0.1.2 tifffile==2026.3.3 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import importlib.metadata

import numpy as np
import openslide
import tifffile

for name in ("openslide-python", "openslide-bin", "tifffile"):
    print(name, importlib.metadata.version(name))
print("OpenSlide", openslide.__library_version__)

rng = np.random.default_rng(0)
whole = rng.integers(0, 256, (4011, 6003, 3), np.uint8)
level1 = whole[: 1002 * 4 : 4, : 1500 * 4 : 4].copy()
with tifffile.TiffWriter("a.tif") as tiff:
    plain = {"tile": (256, 256), "photometric": "rgb", "metadata": None}
    tiff.write(whole, **plain)
    tiff.write(level1, subfiletype=1, **plain)

with openslide.OpenSlide("a.tif") as slide:
    step = slide.level_downsamples[1]
    print("level 1:", slide.level_dimensions[1], "downsample", step)
    same = 0
    places = [(x, y) for y in range(0, 512, 256) for x in range(0, 1280, 256)]
    for x, y in places:
        got = slide.read_region((round(x * step), round(y * step)), 1, (200, 200)).convert("RGB")
        same += np.array_equal(np.asarray(got), level1[y : y + 200, x : x + 200])
    print(f"tiles of level 1 that are read as they are stored: {same} of {len(places)}")
    late = []
    for n in range(1, 60):
        got = np.asarray(slide.read_region((-round(n * step), 0), 1, (64, 1)))
        begins = int(np.flatnonzero(got[0, :, 3])[0])
        if begins != n:
            late.append((n, begins))
    print(f"places left of the slide that are off by a pixel: {len(late)} of 59, such as {late[:3]}")
raise SystemExit(not (same < len(places) // 2 and late and all(b == n - 1 for n, b in late)))
PYTHON

"""A small Aperio slide with everything that a scanner adds to one."""

from pathlib import Path

import numpy as np
import tifffile

SECRETS = ("DOE^JANE", "H21-4711", "SS1234", "07/04/21")
_PAIRS = (
    "|AppMag = 20|MPP = 0.5000|Left = 1.5|ScanScope ID = SS1234|Filename = H21-4711"
    "|Date = 07/04/21|User = DOE^JANE|Barcode = H21-4711|Title = DOE^JANE"
)


def write_svs(path: Path, *, side: int = 600, bigtiff: bool = False) -> Path:
    """Level 0, thumbnail, level 1, label, macro; a name in descriptions and tags."""
    noise = np.random.default_rng(0)
    whole = noise.integers(90, 250, (side, side, 3), np.uint8)
    label = np.full((60, 50, 3), 200, np.uint8)
    # Uncompressed, so that what is written on it can be found in the file.
    label[0].reshape(-1)[:8] = np.frombuffer(b"DOE^JANE", np.uint8)
    jpeg = {"photometric": "rgb", "compression": "jpeg", "metadata": None}
    tiled = {**jpeg, "tile": (256, 256)}
    size = f"{side}x{side}"
    first = f"Aperio Image Library v11.2.1 \r\n{size} [0,0 {size}] (256x256) JPEG/RGB Q=70"
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as svs:
        more = [(315, "s", 0, "DOE^JANE", True), (700, "B", 8, b"DOE^JANE", True)]
        svs.write(whole, description=first + _PAIRS, extratags=more, **tiled)
        svs.write(whole[::4, ::4], description=f"{first} -> 150x150 - {_PAIRS}", **jpeg)
        svs.write(whole[::2, ::2], description=first, **tiled)
        plain = {"photometric": "rgb", "metadata": None}
        svs.write(label, description="Aperio\nlabel 50x60 DOE^JANE", subfiletype=1, **plain)
        svs.write(label, description="Aperio\nmacro 50x60", subfiletype=9, **plain)
    return path

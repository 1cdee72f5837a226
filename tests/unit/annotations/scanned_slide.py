"""A slide whose scanned area begins off its corner, as Leica's SCN writes it."""

from pathlib import Path

import numpy as np
import tifffile

_NM = 500


def write_scn(path: Path, *, at: tuple[int, int] = (300, 200), side: int = 256) -> Path:
    """An SCN file of one tiled area of ``side`` px on a glass of 1000 x 800 px at 0.5 um/px."""
    grey = np.full((side, side, 3), 200, np.uint8)
    grey[20:60, 20:60] = (150, 60, 140)
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" '
        f'uuid="u"><collection name="s" uuid="u" sizeX="{1000 * _NM}" sizeY="{800 * _NM}">'
        '<barcode>MA==</barcode><image name="i" uuid="u"><creationDate>2020-01-01</creationDate>'
        f'<device model="m" version="1"/><pixels sizeX="{side}" sizeY="{side}">'
        f'<dimension sizeX="{side}" sizeY="{side}" r="0" ifd="0"/></pixels>'
        f'<view sizeX="{side * _NM}" sizeY="{side * _NM}" offsetX="{at[0] * _NM}" '
        f'offsetY="{at[1] * _NM}" spacingZ="0"/><scanSettings><objectiveSettings><objective>20'
        "</objective></objectiveSettings><illuminationSettings><numericalAperture>0.4"
        "</numericalAperture><illuminationSource>brightfield</illuminationSource>"
        "</illuminationSettings></scanSettings></image></collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(
            grey,
            description=xml.encode(),
            tile=(256, 256),
            photometric="rgb",
            compression="jpeg",
            metadata=None,
            software=False,
            resolution=(1e7 / _NM, 1e7 / _NM),
            resolutionunit="CENTIMETER",
        )
    return path

"""What OpenSlide's messages mean, and what of them people may see."""

import re
from pathlib import Path

import openslide

# A sound file of a kind that OpenSlide, libtiff or OpenJPEG does not decode. Their errors are text
# alone; these are the words of openslide-vendor-*.c, tif_getimage.c and tif_compress.c.
_UNSUPPORTED = (
    "nsupported",
    "not supported",
    "not configured",
    "Unrecognized subblock dimension",
    "Cannot handle",
    "can not handle",
    "Can't handle",
    "TIFFRGBAImageOK",
)


_DIMENSION = re.compile(r'Unrecognized subblock dimension "(\w)"')
_DIMENSIONS = {"T": "time points", "Z": "focal planes", "H": "phases", "R": "rotations"}


def is_unsupported(error: openslide.OpenSlideError) -> bool:
    """Whether the file is sound and of a kind that is not read, as far as the message tells."""
    return any(words in str(error) for words in _UNSUPPORTED)


def without_path(error: Exception, path: Path, name: str) -> str:
    """A message without the place of the file on this machine."""
    text = str(error)
    found = _DIMENSION.search(text)
    if found:
        several = _DIMENSIONS.get(found[1], f"a dimension {found[1]}")
        return f"a Zeiss CZI with {several}, which is not read"
    for place in (path, path.absolute(), path.resolve()):
        text = text.replace(str(place), name).replace(str(place.parent) + "/", "")
    return text

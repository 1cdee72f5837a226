"""What OpenSlide's messages mean, and what of them people may see."""

from pathlib import Path

import openslide

# OpenSlide names the first dimension that it does not know, also where its size is 1.
_CZI_DIMENSION = "Unrecognized subblock dimension"
_CZI = (
    "a Zeiss CZI of a kind that OpenSlide does not read (such as those with several channels, "
    "scenes, time points or focal planes)"
)
# A sound file of a kind that OpenSlide, libtiff or OpenJPEG does not decode. Their errors are text
# alone; these are the words of openslide-vendor-*.c, tif_getimage.c and tif_compress.c.
_UNSUPPORTED = (
    "nsupported",
    "not supported",
    "not configured",
    _CZI_DIMENSION,
    "Cannot handle",
    "can not handle",
    "Can't handle",
    "TIFFRGBAImageOK",
)


def is_unsupported(error: openslide.OpenSlideError) -> bool:
    """Whether the file is sound and of a kind that is not read, as far as the message tells."""
    return any(words in str(error) for words in _UNSUPPORTED)


def without_path(error: Exception, path: Path, name: str) -> str:
    """A message without the place of the file on this machine."""
    text = str(error)
    if _CZI_DIMENSION in text:
        return _CZI
    for place in (path, path.absolute(), path.resolve()):
        text = text.replace(str(place), name).replace(str(place.parent) + "/", "")
    return text

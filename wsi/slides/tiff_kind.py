"""Which TIFFs hold no 8-bit RGB brightfield picture, and what they hold instead."""

import re
from collections.abc import Sequence

import tifffile

from wsi.errors import UnsupportedSlideError
from wsi.slides.tiff_layout import DIRECT_VENDORS, in_px, size_of

_ONLY = "only 8-bit RGB brightfield slides are read"
_GREY, _RGB, _PALETTE, _CMYK, _YCBCR = (0, 1), 2, 3, 5, 6
_OTHER_COLOURS = {4: "a mask", 8: "CIELab", 9: "ICCLab", 10: "ITULab", 32803: "a colour filter"}
_JPEG = 7
# JPEG, and JPEG 2000 as Aperio writes it: the decoder makes RGB of YCbCr.
_DECODES_YCBCR = (_JPEG, 33003, 33005)
_ALPHA = (1, 2)
_FORMATS = {2: "signed integers", 3: "floating-point numbers", 5: "complex", 6: "complex"}
_TURNED = {
    2: "mirrored left to right",
    3: "turned by 180 degrees",
    4: "mirrored top to bottom",
    5: "mirrored along its diagonal",
    6: "turned by 90 degrees",
    7: "mirrored along its other diagonal",
    8: "turned by 270 degrees",
}
_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")
_SAMPLES = re.compile(r'<(?:\w+:)?Channel\b[^>]*\bSamplesPerPixel="(\d+)"')
_ORIENTATION = 274


def refuse_other_kinds(name: str, vendor: str, pages: Sequence[tifffile.TiffPage]) -> None:
    """Refuse what is sound but no slide of the kind that models are made for.

    Args:
        name: how messages call the slide.
        vendor: as OpenSlide calls the format; its own readers of other vendors' TIFFs know which
            of several pictures is the slide.
        pages: the file's pages, the one that would be read first.

    Raises:
        UnsupportedSlideError: with what the file is, and what to do.
    """
    level0 = pages[0]
    kind, size = kind_of(level0), size_of(level0)
    alike = [page for page in pages if page.is_tiled and size_of(page) == size]
    if kind is not None:
        if len(alike) > 1:
            kind += f", in {len(alike)} pages of one size (channels, focal planes or time points)"
        raise UnsupportedSlideError(name, f"{kind}; {_ONLY}")
    _refuse_turned(name, level0)
    if vendor in DIRECT_VENDORS:
        _refuse_planes(name, level0)
        _refuse_larger(name, pages)
    if vendor == "generic-tiff":
        _refuse_several(name, alike)


def kind_of(page: tifffile.TiffPage) -> str | None:
    """What a page holds instead of 8-bit RGB, in words; ``None`` where it holds that."""
    colours, samples = int(page.photometric), int(page.samplesperpixel)
    bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
    if int(page.imagedepth) > 1:
        return f"it is a volume of {page.imagedepth} planes"
    if colours in _GREY:
        return (
            f"its pixels are {bits}-bit grey"
            if samples == 1
            else f"its pixels have {samples} channels of {bits} bits that are not red, green, blue"
        )
    if colours == _PALETTE:
        return "its pixels are indexes into a colour table (palette)"
    if colours == _CMYK:
        return "its colours are for printing (CMYK)"
    if colours not in (_RGB, _YCBCR):
        return f"its colours are {_OTHER_COLOURS.get(colours, f'of kind {colours}')}, not RGB"
    if int(page.sampleformat) in _FORMATS:
        return f"its colours are {bits}-bit {_FORMATS[int(page.sampleformat)]}"
    if bits != 8:
        return f"its colours have {bits} bits each"
    return _kind_of_samples(page, colours, samples)


def _kind_of_samples(page: tifffile.TiffPage, colours: int, samples: int) -> str | None:
    extra = tuple(int(one) for one in page.extrasamples)
    jpeg = int(page.compression) == _JPEG
    if samples == 4 and (len(extra) != 1 or extra[0] not in _ALPHA):
        return "its pixels have a fourth sample, which is not declared as transparency"
    if samples not in (3, 4):
        return f"its pixels have {samples} samples, not just red, green and blue"
    if colours == _YCBCR and int(page.compression) not in _DECODES_YCBCR:
        return "its colours are YCbCr without JPEG"
    if jpeg and (samples == 4 or int(page.planarconfig) != 1):
        return "its JPEG tiles do not hold red, green and blue together"
    return None


def _refuse_turned(name: str, page: tifffile.TiffPage) -> None:
    tag = page.tags.get(_ORIENTATION)
    value = int(tag.value) if tag is not None else 1
    if value != 1:
        how = _TURNED.get(value, "in a way that TIFF does not define")
        raise UnsupportedSlideError(
            name,
            f"its Orientation tag is {value} ({how}), which is not supported for tiled "
            "slides; write it upright, with Orientation 1",
        )


def _refuse_planes(name: str, page: tifffile.TiffPage) -> None:
    """OME-XML says how many planes belong to the picture, wherever they lie."""
    text = str(page.description)
    found = _PIXELS.search(text) if "OME" in text else None
    if found is None:
        return
    sizes = {axis: _number(found[0], f"Size{axis}") for axis in "ZCT"}
    samples = _SAMPLES.search(text)
    sizes["C"] = max(1, sizes["C"] // (int(samples[1]) if samples else int(page.samplesperpixel)))
    words = {"Z": "focal planes", "C": "channels", "T": "time points"}
    more = [f"{sizes[axis]} {word}" for axis, word in words.items() if sizes[axis] > 1]
    if more:
        raise UnsupportedSlideError(
            name,
            f"it holds {' and '.join(more)}; only slides with one picture are read: export one",
        )


def _number(element: str, attribute: str) -> int:
    found = re.search(rf'\b{attribute}="(\d+)"', element)
    return int(found[1]) if found else 1


def _refuse_several(name: str, alike: Sequence[tifffile.TiffPage]) -> None:
    """Pictures of the full size that nothing marks as reduced: which of them is the slide?"""
    whole = [page for page in alike if int(page.subfiletype) == 0 and kind_of(page) is None]
    if len(whole) > 1:
        raise UnsupportedSlideError(
            name,
            f"it holds {len(whole)} pictures of the full size (focal planes, stains or time "
            "points); only slides with one picture are read: export one",
        )


def _refuse_larger(name: str, pages: Sequence[tifffile.TiffPage]) -> None:
    first = size_of(pages[0])
    larger = [
        size_of(page)
        for page in pages
        if page.is_tiled and size_of(page).area > first.area and kind_of(page) is None
    ]
    if larger:
        raise UnsupportedSlideError(
            name,
            f"its first picture, {in_px(first)}, is not its largest, {in_px(larger[0])}; write "
            "the slide first, then its levels from fine to coarse",
        )

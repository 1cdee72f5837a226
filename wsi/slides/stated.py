"""What a slide's file says of its own resolution, and where its own words differ."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

import openslide

from wsi.geometry import Mpp, Size

_TAG_UNITS_UM = {"inch": 25_400.0, "centimeter": 10_000.0}

_OME_UNITS_UM = {
    "pm": 1e-6, "\u00c5": 1e-4, "\u212b": 1e-4, "nm": 1e-3,
    "\u00b5m": 1.0, "\u03bcm": 1.0, "um": 1.0,
    "mm": 1e3, "cm": 1e4, "dm": 1e5, "m": 1e6, "thou": 25.4, "in": 25_400.0, "pt": 25_400 / 72,
}  # fmt: skip
"""Lengths of the OME schema (2016-06, ``UnitsLength``) that a pixel may have, in micrometres."""

SAME_MPP = 0.01
"""Resolutions that differ by less than this share are the same one, rounded."""

_UM_AT_ONE_POWER = 10.0
"""Micrometres per pixel times objective power: 0.5 at 20x, 0.25 at 40x."""

_POWER_TOLERANCE = (0.4, 1.67)
_APERIO_TOLERANCE = (0.6, 1.67)
"""How far power times resolution may lie from ``_UM_AT_ONE_POWER``. Some scanners magnify 20x
objectives further before the camera (3DHISTECH: 0.24 um/px); Aperio then states 40."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stated:
    """The resolution that a file states.

    Attributes:
        mpp: level 0; ``None`` where it states none.
        by_tags_alone: it stands in the resolution tags of a plain TIFF, where photo software
            writes what a printer should do.
        notes: sentences for people, where the file contradicts itself.
    """

    mpp: Mpp | None
    by_tags_alone: bool = False
    notes: tuple[str, ...] = ()


def stated_resolution(properties: Mapping[str, str], size: Size) -> Stated:
    """The resolution out of a slide's properties, named as OpenSlide names them.

    Of an OME-TIFF it is PhysicalSizeX and PhysicalSizeY of the image whose size level 0 has,
    whatever the resolution tags say. Else it is what OpenSlide takes from the vendor's header.
    """
    vendor = properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown")
    mpp = _pair(
        positive(properties.get(openslide.PROPERTY_NAME_MPP_X)),
        positive(properties.get(openslide.PROPERTY_NAME_MPP_Y)),
    )
    tags = _tag_mpp(properties)
    ome = _ome_root(properties.get("tiff.ImageDescription", ""))
    if ome is not None:
        physical, notes = _ome_mpp(ome, size)
        if physical is None:
            return Stated(mpp=tags, by_tags_alone=True, notes=notes)
        return Stated(mpp=physical, notes=(*notes, *_conflict("OME header", physical, tags)))
    if vendor == "generic-tiff":
        return Stated(mpp=mpp, by_tags_alone=True)
    power = positive(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER))
    conflicts = _conflict("Aperio header", mpp, tags) if vendor == "aperio" else ()
    return Stated(mpp=mpp, notes=(*conflicts, *_odd_power(mpp, power, vendor)))


def positive(text: str | None) -> float | None:
    """A positive finite number out of a property, else ``None``."""
    try:
        value = float(text) if text else 0.0
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def um_per_px(mpp: Mpp) -> str:
    """A resolution for people: one number where its pixels are square."""
    if differ(mpp.x, mpp.y) < SAME_MPP / 10:
        return f"{mpp.mean:.4g} um/px"
    return f"{mpp.x:.4g} x {mpp.y:.4g} um/px"


def differ(one: float, other: float) -> float:
    """By which share the larger of two positive numbers is larger."""
    return max(one, other) / min(one, other) - 1


def _pair(x: float | None, y: float | None) -> Mpp | None:
    return Mpp(x, y) if x and y else None


def _tag_mpp(properties: Mapping[str, str]) -> Mpp | None:
    """XResolution and YResolution; ``None`` where their unit is none."""
    unit_um = _TAG_UNITS_UM.get(properties.get("tiff.ResolutionUnit", ""))
    x = positive(properties.get("tiff.XResolution"))
    y = positive(properties.get("tiff.YResolution"))
    return Mpp(unit_um / x, unit_um / y) if unit_um and x and y else None


def _ome_root(description: str) -> ElementTree.Element | None:
    """The OME-XML of an OME-TIFF's first page, else ``None``."""
    if not re.search(r"<(\w+:)?OME\b", description):
        return None
    try:
        root = ElementTree.fromstring(description)
    except ElementTree.ParseError:
        return None
    return root if root.tag.rpartition("}")[2] == "OME" else None


def _ome_mpp(root: ElementTree.Element, size: Size) -> tuple[Mpp | None, tuple[str, ...]]:
    """PhysicalSize of the image that level 0 is, and what stands in the way of it."""
    pixels = [item for item in root.iter() if item.tag.rpartition("}")[2] == "Pixels"]
    wanted = (str(size.width), str(size.height))
    found = next((p for p in pixels if (p.get("SizeX"), p.get("SizeY")) == wanted), None)
    if found is None:
        note = f"its OME header does not describe an image of {size.width} x {size.height} px"
        return None, (f"{note}: the resolution tags are used instead",) if pixels else ()
    lengths, unknown = [], []
    for axis in ("PhysicalSizeX", "PhysicalSizeY"):
        unit = found.get(f"{axis}Unit", "um")
        value = positive(found.get(axis))
        if value is not None and unit not in _OME_UNITS_UM:
            unknown.append(unit)
        lengths.append(value and value * _OME_UNITS_UM.get(unit, 0.0))
    if unknown:
        return None, (
            f"its OME header states the size of a pixel in {unknown[0]!r}, which is not a length",
        )
    return _pair(*lengths), ()


def _conflict(header: str, mpp: Mpp | None, tags: Mpp | None) -> tuple[str, ...]:
    if mpp is None or tags is None:
        return ()
    if max(differ(mpp.x, tags.x), differ(mpp.y, tags.y)) <= SAME_MPP:
        return ()
    return (
        f"its {header} states {um_per_px(mpp)}, its TIFF tags {um_per_px(tags)}: "
        "the header's is used",
    )


def _odd_power(mpp: Mpp | None, power: float | None, vendor: str) -> tuple[str, ...]:
    """Whether power and resolution contradict each other, as after an export at half the size."""
    if mpp is None or power is None:
        return ()
    low, high = _APERIO_TOLERANCE if vendor == "aperio" else _POWER_TOLERANCE
    if low <= mpp.mean * power / _UM_AT_ONE_POWER <= high:
        return ()
    usual = _UM_AT_ONE_POWER / power
    return (
        f"the file states {um_per_px(mpp)} at {power:g}x, where about {usual:.3g} um/px is usual: "
        "check its resolution",
    )

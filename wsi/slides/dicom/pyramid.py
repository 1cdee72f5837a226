"""From DICOM instances to slides: one pyramid of one series is one slide.

A level is a VOLUME image of the slide's aspect. What does not fit is left out and said; a slide
that is stored in a way that is not read is refused by what it is.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from wsi.errors import DamagedSlideError, SlideError, UnsupportedSlideError
from wsi.slides.dicom.colours import require_stated_colours
from wsi.slides.dicom.headers import Instance

VOLUME = "VOLUME"
ASSOCIATED = ("LABEL", "OVERVIEW", "THUMBNAIL")
# What OpenSlide decodes.
_READ = frozenset(
    {
        "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
        "1.2.840.10008.1.2.4.50",  # JPEG Baseline
        "1.2.840.10008.1.2.4.90",  # JPEG 2000, lossless
        "1.2.840.10008.1.2.4.91",  # JPEG 2000
    }
)
_DARK = {
    "111743": "epifluorescence",
    "111745": "darkfield",
    "111747": "phase contrast",
    "111748": "differential interference contrast",
    "111749": "total internal reflection fluorescence",
}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_CONVERT = "convert it to a pyramidal TIFF with JPEG tiles"


@dataclass(frozen=True)
class Picture:
    """The instances of one pyramid, before any of them is judged.

    Attributes:
        volumes: what may be its levels, in the order of the files' paths.
        associated: labels, overviews and thumbnails that belong to it.
    """

    volumes: tuple[Instance, ...]
    associated: tuple[Instance, ...] = ()

    @property
    def base(self) -> Instance:
        """The finest image."""
        return min(self.volumes, key=lambda one: (-one.columns * one.rows, *_order(one)))

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All of them."""
        return (*self.volumes, *self.associated)


@dataclass(frozen=True)
class Chosen:
    """What of a picture is read.

    Attributes:
        levels: finest first; more than one instance where a level is a concatenation.
        associated: one of each flavour.
        warnings: what was left out, and why.
    """

    levels: tuple[tuple[Instance, ...], ...]
    associated: tuple[Instance, ...]
    warnings: tuple[str, ...]

    @property
    def base(self) -> Instance:
        """The finest image (its first file)."""
        return self.levels[0][0]

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read."""
        volumes = [one.file for level in self.levels for one in level]
        return (*volumes, *(one.file for one in self.associated))


def pictures(instances: Iterable[Instance]) -> list[Picture]:
    """The slides among instances: a series of a container, and within that each PyramidUID."""
    series: dict[tuple[str, str], list[Instance]] = defaultdict(list)
    for one in instances:
        if one.is_slide_image and not one.broken:
            series[one.series, one.container].append(one)
    found = []
    for members in series.values():
        pyramids: dict[str, list[Instance]] = defaultdict(list)
        for one in members:
            if one.flavour not in ASSOCIATED:
                pyramids[one.pyramid].append(one)
        beside = [one for one in members if one.flavour in ASSOCIATED]
        for uid, volumes in pyramids.items():
            mine = [one for one in beside if one.pyramid in ("", uid)]
            found.append(Picture(tuple(volumes), tuple(mine)))
        if not pyramids:
            found.append(Picture((), tuple(beside)))
    return found


def choose(picture: Picture, name: str) -> Chosen:
    """The levels and associated images to read.

    Raises:
        UnsupportedSlideError: the slide is stored in a way that is not read.
        DamagedSlideError: files or frames are missing.
    """
    volumes = [one for one in picture.volumes if one.flavour == VOLUME]
    if not volumes:
        raise _no_volume(picture, name)
    told = [
        f"{one.file.name} is left out: its ImageType does not say what it shows"
        for one in picture.volumes
        if one.flavour != VOLUME
    ]
    ranked = sorted(_by_size(volumes).items(), key=lambda item: -item[0][0] * item[0][1])
    levels: list[tuple[Instance, ...]] = []
    for _, group in ranked:
        try:
            for one in group:
                _require_read(one, name)
            level = _one_image(group, name)
            _require_frames(level, name)
            if levels and not has_aspect(levels[0][0], level[0]):
                raise UnsupportedSlideError(name, "it does not have the aspect of the slide")
            require_stated_colours(level, name)
        except SlideError as error:
            if not levels:
                raise
            told.append(f"{level_name(group[0])} is left out: {error.reason}")
        else:
            levels.append(level)
    if levels[0][0].resampled:
        told.append("its finest image says that it was resampled: a finer one may be missing")
    associated, left_out = _associated(picture.associated)
    return Chosen(tuple(levels), associated, (*told, *left_out))


def level_name(one: Instance) -> str:
    """How messages call an image."""
    return f"the image of {one.columns} x {one.rows} px ({one.file.name})"


def _by_size(volumes: Sequence[Instance]) -> dict[tuple[int, int], list[Instance]]:
    sizes: dict[tuple[int, int], list[Instance]] = defaultdict(list)
    for one in volumes:
        sizes[one.columns, one.rows].append(one)
    return sizes


def _one_image(group: Sequence[Instance], name: str) -> tuple[Instance, ...]:
    """The files of the one image of this size: one, or the parts of a concatenation."""
    unlike = {one.sop_uid: one for one in reversed(group)}  # a file that is there twice counts once
    files = sorted(unlike.values(), key=_order)
    if len(files) > 1 and (len({one.concatenation for one in files}) > 1 or not files[0].part):
        raise UnsupportedSlideError(name, _why_several(files))
    first = files[0]
    if first.concatenation:
        wanted = max(first.parts, len(files), max(one.part for one in files), 1)
        if [one.part for one in files] != list(range(1, wanted + 1)):
            raise DamagedSlideError(
                name,
                f"its image is split into {wanted} files, of which {len(files)} are here; copy all",
            )
        if wanted == 1:
            raise UnsupportedSlideError(name, "it is the only file of a concatenation")
    return tuple(files)


def _why_several(files: Sequence[Instance]) -> str:
    first = files[0]
    names = ", ".join(one.file.name for one in files[:4])
    size = f"{first.columns} x {first.rows} px"
    if len({one.path_names for one in files}) > 1:
        return f"its optical paths (channels) are images of their own ({names}); only one is read"
    if len({one.depth for one in files}) > 1:
        return f"its focal planes are images of their own ({names}); only one is read"
    return (
        f"it holds {_count(len(files))} images of {size} in one series ({names}), such as focal "
        "planes or two scans, and does not say by PyramidUID which belong together"
    )


def _require_read(one: Instance, name: str) -> None:
    """Refuse what is not 8-bit colour in one plane, in a transfer syntax that is decoded."""
    if one.columns < 1 or one.rows < 1 or one.tiles < 1:
        raise UnsupportedSlideError(name, "it does not state its size (TotalPixelMatrixColumns)")
    if one.focal_planes > 1:
        raise _only(name, f"it has {_count(one.focal_planes)} focal planes", "single-plane slides")
    if one.optical_paths > 1:
        raise _only(
            name,
            f"it has {_count(one.optical_paths)} optical paths (channels)",
            "slides with one",
        )
    if one.samples == 1 and one.photometric != "PALETTE COLOR":
        raise _only(name, f"it is a grey image of {one.bits} bits", "8-bit colour slides")
    if one.samples != 3:
        raise _only(
            name,
            f"its pixels have {_count(one.samples)} sample{'s' * (one.samples != 1)} "
            f"({one.photometric or 'of unstated meaning'})",
            "slides with red, green and blue",
        )
    if one.bits != 8:
        raise _only(name, f"its samples have {one.bits} bits", "slides with 8 bits")
    if one.missing:
        raise UnsupportedSlideError(
            name, f"it does not state {', '.join(one.missing)}, which slides must; {_CONVERT}"
        )
    dark = next((code for code in one.illumination if code in _DARK), None)
    if dark:
        raise _only(name, f"it was taken by {_DARK[dark]}", "brightfield slides")
    if one.transfer_syntax not in _READ:
        syntax = UID(one.transfer_syntax).name if one.transfer_syntax else "not stated"
        raise UnsupportedSlideError(name, f"its transfer syntax is not read ({syntax}); {_CONVERT}")


def _require_frames(level: Sequence[Instance], name: str) -> None:
    one, frames = level[0], sum(part.frames for part in level)
    if not frames and one.tiles > 1:
        raise UnsupportedSlideError(
            name, f"it does not state NumberOfFrames, which slides must; {_CONVERT}"
        )
    frames = frames or 1
    if frames > one.tiles:
        raise UnsupportedSlideError(
            name,
            f"it stores {frames} frames for {one.tiles} tiles, as with several focal planes or "
            "optical paths; only one picture per slide is read",
        )
    if one.is_full and frames < one.tiles:
        raise DamagedSlideError(
            name, f"it stores {frames} frames of {one.tiles} tiles; copy it again, with all files"
        )


def has_aspect(base: Instance, level: Instance) -> bool:
    """Whether an image may be the whole slide, reduced."""
    wide = _ratios(base.columns, level.columns)
    high = _ratios(base.rows, level.rows)
    return wide[0] <= high[1] and high[0] <= wide[1]


def _ratios(whole: int, part: int) -> tuple[float, float]:
    """The downsamples that may have led from one length to the other, by whatever rounding."""
    slack = max(1.0, 0.005 * part)
    return whole / (part + slack), whole / max(part - slack, 1e-9)


def _associated(instances: Sequence[Instance]) -> tuple[tuple[Instance, ...], list[str]]:
    """One image of each flavour that is stored as one frame, and what is said of the others."""
    kept: dict[str, Instance] = {}
    told = []
    for one in sorted(instances, key=_order):
        other = kept.get(one.flavour)
        if other and other.sop_uid == one.sop_uid:
            continue
        if other:
            told.append(f"{one.file.name} is left out: {other.file.name} is its {one.flavour}")
        elif one.tiles != 1 or (one.columns, one.rows) != (one.tile_columns, one.tile_rows):
            told.append(f"its {one.flavour} ({one.file.name}) is stored in tiles and is not shown")
        elif _cannot_be_shown(one):
            told.append(f"its {one.flavour} ({one.file.name}) is stored in a way that is not read")
        else:
            kept[one.flavour] = one
    return tuple(kept.values()), told


def _cannot_be_shown(one: Instance) -> bool:
    return (
        one.transfer_syntax not in _READ
        or (one.samples, one.bits) != (3, 8)
        or one.focal_planes > 1
        or bool(one.concatenation)
    )


def _no_volume(picture: Picture, name: str) -> UnsupportedSlideError:
    for one in picture.volumes:
        if one.transfer_syntax == DeflatedExplicitVRLittleEndian:
            return UnsupportedSlideError(
                name, f"its transfer syntax is not read ({UID(one.transfer_syntax).name})"
            )
    if any(not one.flavour for one in picture.volumes):
        return UnsupportedSlideError(
            name, "it does not say what it shows: ImageType is missing (VOLUME, LABEL, ...)"
        )
    there = ", ".join(sorted({one.flavour for one in picture.instances}))
    return UnsupportedSlideError(name, f"it holds no VOLUME image, only: {there}")


def _only(name: str, what: str, read: str) -> UnsupportedSlideError:
    return UnsupportedSlideError(name, f"{what}; only {read} are read")


def _count(number: int) -> str:
    return _NUMBERS[number] if 0 <= number < len(_NUMBERS) else str(number)


def _order(one: Instance) -> tuple[int, str]:
    return one.part, str(one.file)

"""From a path that somebody names to the one slide that it means."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsi.errors import (
    DamagedSlideError,
    NotASlideError,
    SlideError,
    UnreadableSlideError,
    UnsupportedSlideError,
)
from wsi.slides.dicom.headers import is_dicom, read_instance
from wsi.slides.dicom.pyramid import Picture
from wsi.slides.folder import (
    FoundSlide,
    describe,
    opens,
    pictures_with,
    slides_below,
)

_DUAL = (".tif", ".tiff")  # of a file that is DICOM and TIFF, the ending says what it is read as
_NAMED = 6


@dataclass(frozen=True)
class Entry:
    """What a path means.

    Attributes:
        file: to hand to OpenSlide.
        picture: its instances, where it is DICOM.
        path: opens this slide again, and no other that may lie beside it.
        warnings: what lies beside it and was passed over though it might be a slide.
    """

    file: Path
    path: Path
    picture: Picture | None = None
    warnings: tuple[str, ...] = ()


def entry_of(path: Path, name: str) -> Entry:
    """The slide that a file or folder is.

    Raises:
        UnreadableSlideError: the system does not give the file or folder.
        NotASlideError: the folder holds no slide.
        UnsupportedSlideError: the folder holds several slides, or the file is a DICOM object of
            another kind.
        DamagedSlideError: the header of a DICOM file is broken.
    """
    try:
        if path.is_dir():
            return _in_folder(path, name)
        with path.open("rb"):
            pass
        if path.suffix.lower() in _DUAL or not is_dicom(path):
            return Entry(path, path)
        if path.name.upper() == "DICOMDIR":
            return _in_folder(path.absolute().parent, name)
        return _of_instance(path, name)
    except OSError as error:
        raise UnreadableSlideError(
            name, f"the file cannot be read: {error.strerror or error}"
        ) from error


def _of_instance(path: Path, name: str) -> Entry:
    one = read_instance(path)
    if one is None:
        raise UnsupportedSlideError(
            name, "a directory of DICOM files; name the folder that contains it"
        )
    if one.broken:
        raise DamagedSlideError(name, f"its DICOM header is broken ({one.broken})")
    if not one.is_slide_image:
        raise UnsupportedSlideError(
            name,
            f"a DICOM file that is not a slide but {one.class_name}; name the slide next to it",
        )
    same = pictures_with(path)
    if len(same) > 1:
        found = [FoundSlide(picture.base.file, "", picture) for picture in same]
        raise _several(name, found, f"this {one.flavour} belongs to")
    return Entry(path, path, same[0])


def _in_folder(folder: Path, name: str) -> Entry:
    found = slides_below(folder)
    if any(one.path == folder and one.problem for one in found):
        raise UnreadableSlideError(name, f"the folder cannot be read: {found[0].problem}")
    rest: Sequence[FoundSlide] = ()
    if len(found) > 1:
        opening = [one for one in found if one.picture or opens(one.path)]
        if len(opening) != 1:
            raise _several(name, opening or found, "it holds", folder)
        rest = [one for one in found if one is not opening[0]]
        found = opening
    if not found:
        return _other_than_by_ending(folder, name)
    warnings = tuple(f"{one.path.name} is next to it and is not read" for one in rest)
    (slide,) = found
    if slide.problem:
        raise UnreadableSlideError(name, f"a folder in it cannot be read: {slide.problem}")
    if slide.picture is None:
        return Entry(slide.path, slide.path, None, warnings)
    first = slide.picture.base if slide.picture.volumes else slide.picture.instances[0]
    return Entry(first.file, slide.path, slide.picture, warnings)


def _other_than_by_ending(folder: Path, name: str) -> Entry:
    """A slide that OpenSlide knows though its name does not say so."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name[0] != ".")
    opening = [file for file in files if opens(file)]
    if len(opening) > 1:
        raise _several(name, [FoundSlide(file, file.name) for file in opening], "it holds", folder)
    if opening:
        return entry_of(opening[0], name)
    kinds = sorted({kind for file in files if (kind := _dicom_kind(file))})
    if kinds:
        raise UnsupportedSlideError(
            name, f"the folder holds no slide, only DICOM of other kinds: {', '.join(kinds)}"
        )
    raise NotASlideError(name, "the folder holds no slide that OpenSlide reads")


def _dicom_kind(file: Path) -> str:
    one = read_instance(file)
    return one.class_name if one and not one.broken else ""


def _several(
    name: str, found: Sequence[FoundSlide], verb: str, folder: Path | None = None
) -> SlideError:
    names = [describe(one, folder) for one in found]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return UnsupportedSlideError(
        name,
        f"{verb} {len(names)} slides: {'; '.join(names[:_NAMED])}{more}; "
        "give each one separately (its file, its folder, or a zip of its own)",
    )

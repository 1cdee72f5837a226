"""Which files a slide consists of: most formats are one file, some are a folder of them."""

from pathlib import Path

from wsi.errors import UnreadableSlideError
from wsi.slides.dicom.headers import is_dicom
from wsi.slides.folder import pictures_with

_MAX_INDEX = 1 << 20


def slide_files(entry: Path) -> tuple[tuple[str, Path], ...]:
    """The files of a slide, its own first, then its companions by name.

    A MIRAX slide has the files of the folder of its name; a Hamamatsu VMS or VMU those that it
    names; a DICOM instance those of its pyramid, with label and overview. Any other is one file.

    Args:
        entry: the file that is opened, as ``SlideReader.path`` names it.

    Returns:
        Pairs of a name and a path. Names are those of companions; that of the slide's own file is
        empty, as a renamed slide is the same slide.

    Raises:
        UnreadableSlideError: the file or its folder cannot be read.
    """
    own = entry.absolute()
    try:
        found = _companions(own)
    except OSError as error:
        raise UnreadableSlideError(
            entry.name, f"the file cannot be read: {error.strerror or error}"
        ) from error
    return (("", entry), *sorted((file.name, file) for file in found if file != own))


def _companions(entry: Path) -> list[Path]:
    ending = entry.suffix.lower()
    if ending == ".mrxs":
        folder = entry.with_suffix("")
        return [file for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
    if ending in (".vms", ".vmu"):
        return _named_in(entry)
    if ending in (".tif", ".tiff") or not is_dicom(entry):
        return []
    return [one.file for picture in pictures_with(entry) for one in picture.instances]


def _named_in(index: Path) -> list[Path]:
    """Files that a Hamamatsu index names: lines such as ``ImageFile=a.jpg``."""
    with index.open("rb") as file:
        text = file.read(_MAX_INDEX).decode("utf-8", "replace")
    values = {line.partition("=")[2].strip() for line in text.splitlines()}
    # Names of files beside it alone: a path in it is followed by nobody.
    names = {value for value in values if value and Path(value).name == value}
    return [index.parent / name for name in names if (index.parent / name).is_file()]

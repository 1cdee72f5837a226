"""Which files a slide consists of: most formats are one file, some are a folder of them."""

from pathlib import Path

from wsi.errors import UnreadableSlideError
from wsi.slides.entry import entry_of

_MAX_INDEX = 1 << 20


def slide_files(path: Path) -> tuple[tuple[str, Path], ...]:
    """The files of a slide, by name, its own first.

    A MIRAX slide has the files of the folder of its name; a Hamamatsu VMS or VMU those that it
    names; a DICOM slide the instances of its pyramid, wherever ``open_slide`` finds them. Any other
    slide is one file.

    Args:
        path: what ``open_slide`` is given: a file, or a folder that holds one slide.

    Returns:
        Pairs of a name and a path. Names are those that tell the files of one slide apart wherever
        it lies: empty for a slide's own file, the UID of a DICOM instance, else file names.

    Raises:
        UnreadableSlideError: a file or folder cannot be read.
        SlideError: ``path`` is not a slide, or holds several.
    """
    entry = entry_of(path, path.name)
    if entry.picture is not None:
        return tuple(sorted((one.sop_uid, one.file) for one in entry.picture.instances))
    try:
        found = _companions(entry.file)
    except OSError as error:
        raise UnreadableSlideError(
            path.name, f"the file cannot be read: {error.strerror or error}"
        ) from error
    return (("", entry.file), *sorted((file.name, file) for file in found))


def _companions(file: Path) -> list[Path]:
    ending = file.suffix.lower()
    if ending == ".mrxs":
        folder = file.with_suffix("")
        return [one for one in folder.iterdir() if one.is_file()] if folder.is_dir() else []
    return _named_in(file) if ending in (".vms", ".vmu") else []


def _named_in(index: Path) -> list[Path]:
    """Files that a Hamamatsu index names: lines such as ``ImageFile=a.jpg``."""
    with index.open("rb") as file:
        text = file.read(_MAX_INDEX).decode("utf-8", "replace")
    values = {line.partition("=")[2].strip() for line in text.splitlines()}
    # Names of files beside it alone: a path in it is followed by nobody.
    names = {value for value in values if value and Path(value).name == value} - {index.name}
    return [index.parent / name for name in names if (index.parent / name).is_file()]

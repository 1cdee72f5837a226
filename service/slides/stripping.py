"""Taking label and macro images out of stored slides."""

from pathlib import Path

from wsi.files import fsync
from wsi.slides.strip import strip_labels


def stripped(staged: Path, entry: Path, name: str, *, uid_key: str) -> tuple[Path, Path]:
    """A stripped copy of a slide that has just arrived.

    Args:
        staged: the folder that was to be published.
        entry: what to open in it: a file, or a folder of DICOM instances.
        name: how messages call the slide.
        uid_key: see ``strip_labels``.

    Returns:
        The folder to publish in its place, beside it, and what to open in that. Nothing else of
        ``staged`` is in there.

    Raises:
        SlideError: of its format labels cannot be removed.
    """
    folder = staged.with_name("stripped")
    copy = folder / entry.relative_to(staged)
    copy.parent.mkdir(parents=True)
    if copy == folder:
        folder.rmdir()
    strip_labels(entry, copy, name=name, uid_key=uid_key)
    return folder, copy


def replace_by_stripped(
    entry: Path, folder: Path, staging: Path, name: str, *, uid_key: str
) -> None:
    """Put a stripped copy in the place of a stored slide. A crash in between leaves a whole slide.

    Readers that have it open go on with what they have; pixels are the same.

    Args:
        entry: what is opened.
        folder: holds the stored slide and nothing else; ``entry`` lies in it or is it.
        staging: an empty folder on the same file system.
        name: how messages call the slide.
        uid_key: see ``strip_labels``.

    Raises:
        SlideError: of its format labels cannot be removed; nothing was changed then.
    """
    copy = staging / "copy"
    strip_labels(entry, copy, name=name, uid_key=uid_key)
    files = [path for path in copy.rglob("*") if path.is_file()]
    new = {entry: copy} if copy.is_file() else {entry / one.relative_to(copy): one for one in files}
    for old in [path for path in folder.rglob("*") if path.is_file() and path not in new]:
        old.unlink()
    for target, file in new.items():
        fsync(file)
        file.replace(target)
    fsync(entry.parent)

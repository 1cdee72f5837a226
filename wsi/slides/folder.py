"""The slides that lie in a folder, each with a path that opens it alone and a name of its own."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wsi.slides.dicom.headers import Instance, read_instance
from wsi.slides.dicom.pyramid import Picture, level_name, pictures

SLIDE_ENDINGS = frozenset(
    ".svs .tif .tiff .ndpi .mrxs .scn .bif .vms .vmu .svslide .czi".split()  # noqa: SIM905
)
_DICOM_ENDINGS = ("", ".dcm", ".dicom", ".dic", ".ima")
_MEDIA_FILE = "DICOMDIR"
_MEDIA_DEPTH = 6
_UID_TAIL = 12


@dataclass(frozen=True)
class FoundSlide:
    """A slide in a folder.

    Attributes:
        path: opens this slide and no other.
        name: unlike those of the other slides that were found with it.
        picture: its instances, where it is DICOM.
        problem: why it cannot be opened, where the system does not give it.
    """

    path: Path
    name: str
    picture: Picture | None = None
    problem: str = ""


def slides_below(folder: Path) -> list[FoundSlide]:
    """The slides of a folder and of those below it, by path.

    A file counts by its ending, or as a DICOM slide image by its content. Other files are passed
    over, also DICOM objects of other kinds (SEG, SR, annotations, maps). Links to folders are not
    followed. A folder that the system refuses to list is in the list with its ``problem``.
    """
    files, refused = _files_below(folder)
    others = [file for file in files if file.suffix.lower() in SLIDE_ENDINGS]
    instances, broken = read_instances(file for file in files if may_be_dicom(file))
    found = [FoundSlide(file, file.name) for file in others]
    found += [FoundSlide(one.file, one.file.name) for one in broken]
    found += [FoundSlide(place, place.name, problem=reason) for place, reason in refused]
    slides = slides_of(instances)
    taken = [one.path for one in found]
    for slide in slides:
        rest = [one.file for other in slides if other is not slide for one in other.instances]
        found.append(_placed(slide, [*taken, *rest]))
    return _told_apart(sorted(found, key=lambda one: str(one.path)), folder)


def slides_of(instances: Sequence[Instance]) -> list[Picture]:
    """DICOM slides among instances of several folders.

    A series that lies in several folders is one slide, unless it holds an image of one size twice:
    then these are slides that somebody gave one UID.
    """
    found = []
    for picture in pictures(instances):
        places = {one.file.parent for one in picture.instances}
        if len(places) == 1 or not _clashes(picture):
            found.append(picture)
            continue
        for place in sorted(places):
            found += pictures(one for one in picture.instances if one.file.parent == place)
    return found


def instances_beside(file: Path) -> list[Instance]:
    """DICOM instances in a file's folder, or on its whole medium where that has a DICOMDIR."""
    return read_instances(one for one in _near(file) if one == file or may_be_dicom(one))[0]


def read_instances(files: Iterable[Path]) -> tuple[list[Instance], list[Instance]]:
    """Headers of the slide images among files, and of those that are broken."""
    sound, broken = [], []
    for file in files:
        try:
            one = read_instance(file)
        except OSError as error:
            one = Instance(file=file, broken=error.strerror or str(error))
        if one is not None and one.broken:
            broken.append(one)
        elif one is not None and one.is_slide_image:
            sound.append(one)
    return sound, broken


def may_be_dicom(file: Path) -> bool:
    """Whether the name is one that DICOM files have; many have no ending, or a UID for a name."""
    ending = file.suffix.lower()
    return ending in _DICOM_ENDINGS or ending[1:].isdigit() or len(ending) > _UID_TAIL


def describe(slide: FoundSlide) -> str:
    """What a message calls it."""
    if slide.picture is None or not slide.picture.volumes:
        return slide.path.name
    base = slide.picture.base
    pyramid = f", pyramid ...{base.pyramid[-_UID_TAIL:]}" if base.pyramid else ""
    return f"DICOM series ...{base.series[-_UID_TAIL:]}{pyramid} with {level_name(base)}"


def _files_below(folder: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    refused: list[tuple[Path, str]] = []

    def unreadable(error: OSError) -> None:
        refused.append((Path(error.filename), error.strerror or str(error)))

    files = []
    for place, folders, names in os.walk(folder, onerror=unreadable):
        # The data of a MIRAX slide lie in a folder of the slide's name.
        mirax = {Path(name).stem for name in names if name.lower().endswith(".mrxs")}
        folders[:] = sorted(name for name in folders if name not in mirax and name[0] != ".")
        paths = (Path(place, name) for name in sorted(names) if name[0] != ".")
        files += [path for path in paths if path.is_file()]
    return files, refused


def _near(file: Path) -> Iterator[Path]:
    for place in file.absolute().parents[:_MEDIA_DEPTH]:
        if (place / _MEDIA_FILE).is_file():
            yield from _files_below(place)[0]
            return
    yield from sorted(path for path in file.parent.iterdir() if path.is_file())


def _clashes(picture: Picture) -> bool:
    seen: dict[tuple[int, int, int], str] = {}
    return any(
        seen.setdefault((one.columns, one.rows, one.part), one.sop_uid) != one.sop_uid
        for one in picture.volumes
    )


def _placed(picture: Picture, others: Sequence[Path]) -> FoundSlide:
    """The path of a DICOM slide: its folder where it is alone below that, else its base image."""
    files = [one.file for one in picture.instances]
    place = Path(os.path.commonpath([file.parent for file in files]))
    if not any(other.is_relative_to(place) for other in others):
        return FoundSlide(place, place.name, picture)
    first = picture.base if picture.volumes else picture.instances[0]
    spread = any(file.parent != first.file.parent for file in files)
    path = place if spread and not _on_medium(place) else first.file
    container = "".join(
        char if char.isalnum() or char in "-_." else "_" for char in first.container
    )
    tail = container[:64] or first.series[-_UID_TAIL:]
    return FoundSlide(path, f"{place.name}-{tail}", picture)


def _on_medium(place: Path) -> bool:
    return any((up / _MEDIA_FILE).is_file() for up in (place, *place.absolute().parents))


def _told_apart(found: Sequence[FoundSlide], root: Path) -> list[FoundSlide]:
    """Names that are equal get the folders before them; where that fails, a UID or a number."""
    names = [one.name for one in found]
    if len(set(map(_key, names))) < len(names):
        twice = [list(map(_key, names)).count(_key(name)) > 1 for name in names]
        names = [
            _longer(one, root) if again else name
            for one, name, again in zip(found, names, twice, strict=True)
        ]
    seen: set[str] = set()
    for number, name in enumerate(names):
        other, stem, ending = 1, Path(name).stem, Path(name).suffix
        while _key(name) in seen:
            other += 1
            name = f"{stem}-{other}{ending}"
        seen.add(_key(name))
        names[number] = name
    return [replace(one, name=name) for one, name in zip(found, names, strict=True)]


def _longer(one: FoundSlide, root: Path) -> str:
    above = one.path.relative_to(root).parts[:-1] if one.path.is_relative_to(root) else ()
    tail = ""
    if one.picture is not None and one.path.is_file():
        first = one.picture.instances[0]
        tail = f"-{(first.pyramid or first.series)[-_UID_TAIL:]}"
    return "-".join((*above, one.name)) + tail


def _key(name: str) -> str:
    """Names that would lead to one folder of results, also where case does not count."""
    return (Path(name).stem if Path(name).suffix.lower() in SLIDE_ENDINGS else name).casefold()

"""The slides that lie in a folder, each with a path that opens it alone and a name of its own."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import openslide

from wsi.slide_names import slide_stem
from wsi.slides.dicom.headers import Instance, is_dicom, read_instance
from wsi.slides.dicom.pyramid import Picture, pictures

SLIDE_ENDINGS = frozenset(
    ".svs .tif .tiff .ndpi .mrxs .scn .bif .vms .vmu .svslide .czi".split()  # noqa: SIM905
)
_OTHER_FILES = (
    ".txt .csv .tsv .json .geojson .xml .html .md .log .ini .dat .pdf .png .jpg .jpeg .gif .bmp "
    ".zip .gz .tar .7z .xls .xlsx .doc .docx .py .ipynb .npy .npz .h5 .hdf5 .parquet"
)
_NO_DICOM = SLIDE_ENDINGS | set(_OTHER_FILES.split())
_MEDIA_FILE = "DICOMDIR"
_MEDIA_DEPTH = 6
_UID_TAIL = 12
_HEAD_BYTES = 256 << 10


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
        found.append(_placed(slide, [*taken, *rest], slides))
    return _told_apart(sorted(found, key=lambda one: str(one.path)), folder)


def each_slide(path: Path) -> list[FoundSlide]:
    """What somebody means who names a file, a folder of one slide, or a folder of several.

    Of several every one is in the list, also a file that only looks like a slide by its ending: so
    that it is said. A folder where one alone can be opened is that slide, with the folder's name.
    """
    found = slides_below(path) if path.is_dir() else []
    if sum(one.picture is not None or opens(one.path) for one in found) > 1:
        return found
    return [FoundSlide(path, path.name)]


def name_of(path: Path) -> str:
    """What a slide at a path is called: as its file or folder, or by DICOM's own identifiers.

    The names of DICOM files say nothing; where several slides lie in one folder, each has the
    folder's name and its container's identifier, or the end of its UID.

    Raises:
        OSError: the system does not give the file.
    """
    if path.is_dir() or not may_be_dicom(path):
        return path.name
    beside = slides_of(instances_beside(path.absolute()))
    mine = [one for one in beside if path.absolute() in (item.file for item in one.instances)]
    if len(beside) < 2 or len(mine) != 1:
        return path.name
    return _dicom_name(path.absolute().parent.name, mine[0], beside)


def opens(file: Path) -> bool:
    """Whether OpenSlide knows the format of a file."""
    return file.is_file() and openslide.OpenSlide.detect_format(file) is not None


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


def instances_beside(file: Path, *, of_its_series: bool = False) -> list[Instance]:
    """DICOM instances in a file's folder, or on its whole medium where that has a DICOMDIR.

    Args:
        file: one of them, by its absolute path.
        of_its_series: only those of its series, which spares reading thousands of headers.
    """
    near = [one for one in _near(file) if one == file or may_be_dicom(one)]
    own = read_instance(file) if of_its_series else None
    if own is None or not own.series:
        return read_instances(near)[0]
    wanted = own.series.encode()
    found = read_instances(one for one in near if one == file or _mentions(one, wanted))[0]
    return [one for one in found if one.series == own.series]


def _mentions(file: Path, uid: bytes) -> bool:
    """Whether a UID stands at the beginning of a file, where that of its series would be."""
    try:
        if not is_dicom(file):
            return False
        with file.open("rb") as opened:
            return uid in opened.read(_HEAD_BYTES)
    except OSError:
        return True  # reading it says what is wrong


def pictures_with(file: Path) -> list[Picture]:
    """The DICOM slides that a file belongs to: one, several where it is a label, or none."""
    file = file.absolute()
    found = slides_of(instances_beside(file, of_its_series=True))
    return [one for one in found if any(item.file == file for item in one.instances)]


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
    """Whether a file of this name may be DICOM: many have no ending, or one that says nothing."""
    return file.suffix.lower() not in _NO_DICOM


def describe(slide: FoundSlide, folder: Path | None = None) -> str:
    """What a message calls it: the place within ``folder``, and of DICOM what tells it apart."""
    if slide.picture is None or not slide.picture.volumes:
        return _within(slide.path, folder)
    base = slide.picture.base
    pyramid = f", pyramid ...{base.pyramid[-_UID_TAIL:]}" if base.pyramid else ""
    return (
        f"DICOM series ...{base.series[-_UID_TAIL:]}{pyramid} with an image of {base.columns} x "
        f"{base.rows} px ({_within(base.file, folder)})"
    )


def _within(path: Path, folder: Path | None) -> str:
    inside = folder is not None and path != folder and path.is_relative_to(folder)
    return path.relative_to(folder).as_posix() if folder and inside else path.name


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


def _placed(
    picture: Picture, others: Sequence[Path], pictures_there: Sequence[Picture]
) -> FoundSlide:
    """The path of a DICOM slide: its folder where it is alone below that, else its base image."""
    files = [one.file for one in picture.instances]
    place = Path(os.path.commonpath([file.parent for file in files]))
    if not any(other.is_relative_to(place) for other in others):
        return FoundSlide(place, place.name, picture)
    first = picture.base if picture.volumes else picture.instances[0]
    spread = any(file.parent != first.file.parent for file in files)
    path = place if spread and not _on_medium(place) else first.file
    return FoundSlide(path, _dicom_name(place.name, picture, pictures_there), picture)


def _dicom_name(folder: str, picture: Picture, others: Sequence[Picture]) -> str:
    """The folder's name, and what tells this slide from the others."""
    first = picture.instances[0]
    rest = [one.instances[0] for one in others if one is not picture]
    kept = (char if char.isalnum() or char in "-_." else "_" for char in first.container[:64])
    parts = [folder, "".join(kept)]
    if not first.container or any(one.container == first.container for one in rest):
        parts.append(first.series[-_UID_TAIL:])
    if any((one.series, one.container) == (first.series, first.container) for one in rest):
        parts.append(first.pyramid[-_UID_TAIL:])
    return "-".join(part for part in parts if part)


def _on_medium(place: Path) -> bool:
    return any((up / _MEDIA_FILE).is_file() for up in (place, *place.absolute().parents))


def _told_apart(found: Sequence[FoundSlide], root: Path) -> list[FoundSlide]:
    """Names that are equal get the folders before them; where that fails, a number."""
    names = [one.name for one in found]
    if len(set(map(_key, names))) < len(names):
        twice = [list(map(_key, names)).count(_key(name)) > 1 for name in names]
        names = [
            _longer(one, root) if again else name
            for one, name, again in zip(found, names, twice, strict=True)
        ]
    seen: set[str] = set()
    for number, name in enumerate(names):
        other, stem = 1, slide_stem(name)
        while _key(name) in seen:
            other += 1
            name = f"{stem}-{other}{names[number][len(stem) :]}"
        seen.add(_key(name))
        names[number] = name
    return [replace(one, name=name) for one, name in zip(found, names, strict=True)]


def _longer(one: FoundSlide, root: Path) -> str:
    above = one.path.relative_to(root).parts[:-1] if one.path.is_relative_to(root) else ()
    return "-".join((*above, one.name))


def _key(name: str) -> str:
    """Names that would lead to one folder of results, also where case does not count."""
    return slide_stem(name).casefold()

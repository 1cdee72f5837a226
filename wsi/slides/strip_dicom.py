"""A copy of a DICOM slide of its levels alone, without the patient and under UIDs of its own."""

import hashlib
import hmac
import struct
import uuid
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import pydicom

from wsi.errors import DamagedSlideError, UnsupportedSlideError
from wsi.geometry import Region, Size
from wsi.slides.dicom.headers import HEADER_ERRORS, Instance, read_instance
from wsi.slides.dicom.pyramid import ASSOCIATED, has_aspect
from wsi.slides.dicom.reader import DicomReader
from wsi.slides.entry import entry_of
from wsi.slides.reader import RGB
from wsi.slides.tiff_levels import shows_all_over

_BLOCK = 1 << 20
_SMALL_PX = 1 << 20
_PURPOSE = b"wholeslide: UIDs of copies without labels"
_UNDEFINED = 0xFFFFFFFF
_ITEM, _END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
# Elements that an instance must have and that may be empty (PS3.3, type 2).
_EMPTIED = frozenset(
    {"PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"}
    | {"AccessionNumber", "ReferringPhysicianName", "StudyID"}
)
# Must have a value (type 1); sites write the accession number or the barcode here.
_REPLACED = {
    **dict.fromkeys(("ContainerIdentifier", "SpecimenIdentifier", "DeviceSerialNumber"), "REMOVED"),
    **dict.fromkeys(("AcquisitionDateTime", "DateTime"), "19000101000000"),
    **dict.fromkeys(("ContentDate", "Date"), "19000101"),
    **dict.fromkeys(("ContentTime", "Time"), "000000"),
}
_REMOVED = frozenset(
    {"LabelText", "BarcodeValue", "OtherPatientIDs", "OtherPatientIDsSequence"}
    | {"OtherPatientNames", "PatientBirthName", "PatientBirthTime", "PatientMotherBirthName"}
    | {"PatientAge", "PatientAddress", "PatientTelephoneNumbers", "PatientTelecomInformation"}
    | {"PatientComments", "EthnicGroup", "Occupation", "AdditionalPatientHistory"}
    | {"IssuerOfPatientID", "MedicalRecordLocator", "AdmissionID", "InstitutionName"}
    | {"InstitutionAddress", "InstitutionalDepartmentName", "StationName", "OperatorsName"}
    | {"RequestAttributesSequence", "IconImageSequence", "OriginalAttributesSequence"}
    | {"EncryptedAttributesSequence", "DigitalSignaturesSequence", "MACParametersSequence"}
    | {"IssuerOfTheContainerIdentifierSequence", "IssuerOfTheSpecimenIdentifierSequence"}
    | {"IssuerOfAccessionNumberSequence", "ReferringPhysicianIdentificationSequence"}
    | {"RequestedProcedureID", "PerformedProcedureStepID", "StudyDescription"}
    | {"RequestedProcedureDescription", "PerformedProcedureStepDescription", "StudyComments"}
    | {"SeriesDescription", "ImageComments", "AcquisitionComments", "FrameComments"}
    | {"SpecimenShortDescription", "SpecimenDetailedDescription", "DeviceID", "UDISequence"}
    | {"UniqueDeviceIdentifier", "GantryID", "DetectorID", "TimezoneOffsetFromUTC"}
)
# Of the file's own header: who sent it.
_SENT = (
    *("SourceApplicationEntityTitle", "SendingApplicationEntityTitle"),
    *("ReceivingApplicationEntityTitle", "SourcePresentationAddress"),
    *("SendingPresentationAddress", "ReceivingPresentationAddress"),
    *("PrivateInformation", "PrivateInformationCreatorUID"),
)
_DATES = ("DA", "TM", "DT")
# UIDs that name a kind and no thing: those that DICOM registers, and those of code systems.
_DICOM_ROOT = "1.2.840.10008."
_KINDS = frozenset(
    {"ImplementationClassUID", "CodingSchemeUID", "ContextUID", "MappingResourceUID"}
    | {"ContextGroupExtensionCreatorUID", "TemplateExtensionCreatorUID"}
)


def strip_dicom(source: Path, target: Path, *, name: str, key: str = "") -> tuple[str, ...]:
    """Write the copy; returns what was left out, for people.

    Levels are copied as they are, byte for byte. This is not a full de-identification (PS3.15). All
    UIDs of things are replaced, so that an archive may hold the copy beside the original: by the
    same ones each time (RFC 4122 below 2.25, from the old UID and ``key``), so that references
    between copies hold, also of other slides of the study.

    Args:
        source: a folder of instances, or one of them.
        target: a folder (or, for a slide that is one file, a file) that is not there yet.
        name: how messages call the slide.
        key: a secret of the site: without it nobody can tell which old UID led to a new one.

    Raises:
        UnsupportedSlideError: this is not a DICOM slide that can be read, or there are several.
        DamagedSlideError: an instance breaks off.
    """
    entry = entry_of(source, name)
    if entry.picture is None:
        raise UnsupportedSlideError(name, "it is not a DICOM slide")
    with DicomReader(entry.file, entry.picture, name, thorough=True) as slide:
        kept = _kept(slide)
    for file in kept:
        place = target
        if len(kept) > 1 or source.is_dir():
            below = source.is_dir() and file.is_relative_to(source)
            place = target / (file.relative_to(source) if below else file.name)
            place.parent.mkdir(parents=True, exist_ok=True)
        try:
            _copy(file, place, key.encode())
        except HEADER_ERRORS as error:
            raise DamagedSlideError(name, f"{file.name} is broken ({error})") from error
    beside = sorted(source.rglob("*")) if source.is_dir() else []
    others = [*(file for file in beside if file.is_file()), *_files(entry.picture.instances)]
    return tuple(_told(file) for file in dict.fromkeys(others) if file not in kept)


def _kept(slide: DicomReader) -> list[Path]:
    """Levels (small ones compared all over), and a thumbnail that shows what they show."""
    chosen = slide.chosen
    levels = [
        level
        for number, level in enumerate(chosen.levels)
        if number == 0
        or level[0].columns * level[0].rows > _SMALL_PX
        or _shows_the_slide(slide, slide.read_level(number, 0, 0, level[0].columns, level[0].rows))
    ]
    thumbnails = [
        one
        for one in chosen.associated
        if one.flavour == "THUMBNAIL"
        and not one.label_in_image
        and has_aspect(chosen.base, one)
        and _is_thumbnail(slide)
    ]
    return list(_files([*(one for level in levels for one in level), *thumbnails]))


def _is_thumbnail(slide: DicomReader) -> bool:
    try:
        return _shows_the_slide(slide, slide.associated_image("thumbnail"))
    except DamagedSlideError:
        return False  # who knows what it shows


def _shows_the_slide(slide: DicomReader, pixels: RGB) -> bool:
    height, width = pixels.shape[:2]
    whole = slide.read_region(Region.whole(slide.size), Size(2 * width, 2 * height))
    return shows_all_over(pixels, whole)


def _files(instances: Iterable[Instance]) -> Iterable[Path]:
    return (one.file for one in instances)


def _told(file: Path) -> str:
    """What people call a file that was left out."""
    one = read_instance(file)
    if one is None or one.broken or not one.is_slide_image:
        return f"{file.name} (not a slide image)"
    return one.flavour if one.flavour in ASSOCIATED else f"{file.name} (not a level of the slide)"


def _copy(file: Path, target: Path, key: bytes) -> None:
    """An instance with a cleaned header. Pixel data never pass through memory as a whole."""
    with file.open("rb") as source:
        with pydicom.config.disable_value_validation():
            header = pydicom.dcmread(source, stop_before_pixels=True)
            _clean(header, key)
        # The reader stopped at the element of the pixel data.
        left = _pixels_end(source) - source.tell()
        with target.open("xb") as copy:
            header.save_as(copy, enforce_file_format=True)
            while left:
                block = source.read(min(_BLOCK, left))
                if not block:
                    raise EOFError("it ends before its pixels do")
                copy.write(block)
                left -= len(block)


def _pixels_end(file: BinaryIO) -> int:
    """Where the element of the pixel data ends that begins here: what follows may hold anything."""
    start = file.tell()
    group, element, _, length = struct.unpack("<HH4sI", file.read(12))
    if length != _UNDEFINED:
        end = start + 12 + int(length)
    else:
        while True:
            group, element, length = struct.unpack("<HHI", file.read(8))
            if (group, element) == _END:
                end = file.tell()
                break
            if (group, element) != _ITEM:
                raise ValueError("its frames are not stored consecutively")
            file.seek(length, 1)
    file.seek(start)
    return end


def _clean(header: pydicom.FileDataset, key: bytes) -> None:
    # Some writers make a TIFF of the same file, whose directory lies before the DICOM part.
    header.preamble = bytes(128)
    for keyword in _SENT:
        header.file_meta.pop(keyword, None)
    header.remove_private_tags()
    header.walk(_remove)
    for element in header.iterall():
        if element.keyword in _EMPTIED:
            element.value = None
        elif element.keyword in _REPLACED:
            element.value = _REPLACED[element.keyword]
        elif element.VR == "UI" and element.value and element.keyword not in _KINDS:
            element.value = _renamed(element.value, key)
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.PatientIdentityRemoved = "YES"
    header.DeidentificationMethod = f"wholeslide {version('wholeslide')} strip-labels"
    header.LongitudinalTemporalInformationModified = "REMOVED"


def _renamed(value: object, key: bytes) -> str | list[str]:
    if not isinstance(value, str):
        assert isinstance(value, Iterable)
        return [str(_renamed(str(one), key)) for one in value]
    return value if value.startswith(_DICOM_ROOT) else new_uid(value, key)


def new_uid(old: str, key: bytes = b"") -> str:
    """The UID of a copy: the same each time with one key, and nothing leads back to the old one."""
    digest = hmac.digest(key, _PURPOSE + old.encode(), hashlib.sha256)
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def _remove(dataset: pydicom.Dataset, element: pydicom.DataElement) -> None:
    kept = element.keyword in _EMPTIED or element.keyword in _REPLACED
    if element.keyword in _REMOVED or (element.VR in (*_DATES, "PN") and not kept):
        del dataset[element.tag]

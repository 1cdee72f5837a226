"""A copy of a DICOM slide without its label and overview instances, and without the patient.

Needs pydicom (extra ``dicom``).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from wsi.errors import DamagedSlideError, MissingExtraError, UnsupportedSlideError

if TYPE_CHECKING:
    import pydicom

_BLOCK = 1 << 20
_KEPT = ("VOLUME", "THUMBNAIL")
_DEFLATED = "1.2.840.10008.1.2.1.99"
# Elements that an instance must have and that may be empty (PS3.3, type 2).
_EMPTIED = frozenset(
    {"PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"}
    | {"AccessionNumber", "ReferringPhysicianName", "StudyID"}
)
# Must have a value (type 1); sites write the accession number or the barcode here.
_REPLACED = ("ContainerIdentifier", "SpecimenIdentifier")
_REMOVED = frozenset(
    {"LabelText", "BarcodeValue", "OtherPatientIDs", "OtherPatientIDsSequence"}
    | {"OtherPatientNames", "PatientBirthName", "PatientBirthTime", "PatientMotherBirthName"}
    | {"PatientAge", "PatientAddress", "PatientTelephoneNumbers", "PatientTelecomInformation"}
    | {"PatientComments", "EthnicGroup", "Occupation", "AdditionalPatientHistory"}
    | {"IssuerOfPatientID", "MedicalRecordLocator", "AdmissionID", "InstitutionName"}
    | {"InstitutionAddress", "InstitutionalDepartmentName", "StationName", "OperatorsName"}
    | {"PhysiciansOfRecord", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy"}
    | {"RequestingPhysician", "RequestAttributesSequence", "IconImageSequence"}
    | {"IssuerOfTheContainerIdentifierSequence", "IssuerOfTheSpecimenIdentifierSequence"}
)


def strip_dicom(source: Path, target: Path, *, name: str) -> tuple[str, ...]:
    """Write the copy; returns what was left out, for people.

    Pixel data are copied as they are. This is no full de-identification (PS3.15): dates of the
    acquisition and UIDs stay.

    Args:
        source: a folder of instances, or the only one.
        target: a folder (or file) that is not there yet.
        name: how messages call the slide.

    Raises:
        MissingExtraError: pydicom is not installed.
        UnsupportedSlideError: no instance is a VOLUME, or it is stored deflated.
        DamagedSlideError: an instance breaks off.
    """
    try:
        import pydicom
    except ImportError as error:
        raise MissingExtraError("DICOM", "dicom") from error
    files = [source]
    if source.is_dir():
        target.mkdir()
        files = sorted(path for path in source.iterdir() if path.is_file())
    removed, kinds = [], set()
    for file in files:
        kind = _kind(file)
        if kind not in _KEPT:
            removed.append(kind or f"{file.name} (no slide image)")
            continue
        kinds.add(kind)
        try:
            _copy(file, target / file.name if source.is_dir() else target, name)
        except (pydicom.errors.InvalidDicomError, EOFError, ValueError, KeyError) as error:
            raise DamagedSlideError(name, f"{file.name} is broken ({error})") from error
    if "VOLUME" not in kinds:
        raise UnsupportedSlideError(name, "no instance says that it is the slide (VOLUME)")
    return tuple(removed)


def _kind(file: Path) -> str:
    """VOLUME, LABEL, OVERVIEW or THUMBNAIL; empty for what is no slide image."""
    import pydicom

    try:
        header = pydicom.dcmread(file, specific_tags=["ImageType"], stop_before_pixels=True)
    except (pydicom.errors.InvalidDicomError, EOFError, ValueError, KeyError):
        return ""
    words = [str(word) for word in header.get("ImageType", None) or ()]
    return words[2] if len(words) > 2 else ""


def _copy(file: Path, target: Path, name: str) -> None:
    """An instance with a cleaned header. Pixel data never pass through memory as a whole."""
    import pydicom

    with file.open("rb") as source:
        header = pydicom.dcmread(source, stop_before_pixels=True)
        if header.file_meta.TransferSyntaxUID == _DEFLATED:
            raise UnsupportedSlideError(name, f"{file.name} is deflated; store it otherwise")
        _clean(header)
        with target.open("xb") as copy:
            header.save_as(copy, enforce_file_format=True)
            # The reader stopped at the element of the pixel data.
            while block := source.read(_BLOCK):
                copy.write(block)


def _clean(header: "pydicom.FileDataset") -> None:
    # Some writers make a TIFF of the same file, whose directory lies before the DICOM part.
    header.preamble = bytes(128)
    for keyword in ("PrivateInformation", "PrivateInformationCreatorUID"):
        header.file_meta.pop(keyword, None)
    header.remove_private_tags()
    for element in header.iterall():
        if element.keyword in _EMPTIED:
            element.value = None
        elif element.keyword in _REPLACED:
            element.value = "REMOVED"
    header.walk(_remove)


def _remove(dataset: "pydicom.Dataset", element: "pydicom.DataElement") -> None:
    if element.keyword in _REMOVED:
        del dataset[element.tag]

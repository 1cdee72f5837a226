#!/usr/bin/env bash
# OpenSlide decodes DICOM's JPEG frames as RGB where the header says so, also where they are YCbCr.
#
# A JPEG stream says itself what it is: JFIF is YCbCr (ITU-T T.871), and chroma is only subsampled where
# there is chroma. Some converters store such frames under PhotometricInterpretation RGB (DICOM, PS3.5
# 8.2.1, asks for YBR_FULL_422). OpenSlide takes the header's word without a warning: white becomes
# pink. Pillow, which believes the stream, gives white for the same bytes.
# Exits 0 as long as this is so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install openslide-python==1.4.7 openslide-bin==4.0.1.2 pydicom==3.0.2 numpy==2.2.6 pillow==11.3.0
"$work/venv/bin/python" - "$work" <<'PY'
import io
import sys
from pathlib import Path

import openslide
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid

print("openslide", openslide.__library_version__, "pydicom", pydicom.__version__)
side = 256
sink = io.BytesIO()
Image.new("RGB", (side, side), (255, 255, 255)).save(sink, "JPEG", subsampling="4:2:0")
jpeg = sink.getvalue()
jpeg += b"\0" * (len(jpeg) % 2)


def write(file, photometric):
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = (
        generate_uid() for _ in range(3)
    )
    d.Modality, d.ContainerIdentifier = "SM", "S1"
    d.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    d.SamplesPerPixel, d.PhotometricInterpretation, d.PlanarConfiguration = 3, photometric, 0
    d.BitsAllocated = d.BitsStored = 8
    d.HighBit, d.PixelRepresentation, d.Rows, d.Columns, d.NumberOfFrames = 7, 0, side, side, 1
    d.TotalPixelMatrixRows = d.TotalPixelMatrixColumns = side
    d.TotalPixelMatrixFocalPlanes, d.DimensionOrganizationType = 1, "TILED_FULL"
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [0.0005, 0.0005]
    shared.PixelMeasuresSequence = [measures]
    d.SharedFunctionalGroupsSequence = [shared]
    d.PixelData = encapsulate([jpeg])
    d["PixelData"].VR, d["PixelData"].is_undefined_length = "OB", True
    d.save_as(file, enforce_file_format=True)


def colour(photometric):
    file = Path(sys.argv[1]) / photometric / "a.dcm"
    file.parent.mkdir()
    write(file, photometric)
    return openslide.OpenSlide(file).read_region((0, 0), 0, (1, 1)).getpixel((0, 0))[:3]


stream = Image.open(io.BytesIO(jpeg)).getpixel((0, 0))
right, wrong = colour("YBR_FULL_422"), colour("RGB")
print("Pillow:", stream, "OpenSlide, YBR_FULL_422:", right, "OpenSlide, RGB:", wrong)
white = (255, 255, 255)
as_told = stream == right == white and wrong != white
print("white is not white under a header of RGB:", as_told)
sys.exit(0 if as_told else 1)
PY

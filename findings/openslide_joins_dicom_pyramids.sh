#!/usr/bin/env bash
# OpenSlide joins the instances of two DICOM pyramids (PyramidUID) of one series into one slide.
#
# DICOM (PS3.3 C.8.12.14, Multi-Resolution Pyramid) lets a series hold several pyramids, told apart by
# PyramidUID. OpenSlide reads SeriesInstanceUID alone: where the sizes differ, the second picture
# becomes a lower level of the first, so that a viewer shows another picture when it zooms out. Sizes
# that are equal are refused ("Slide contains unexpected image"), which names neither pyramid.
# Exits 0 as long as this is so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install openslide-python==1.4.7 openslide-bin==4.0.1.2 pydicom==3.0.2 numpy==2.2.6 pillow==11.3.0
"$work/venv/bin/python" - "$work" <<'PY'
import sys
from pathlib import Path

import numpy as np
import openslide
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, VLWholeSlideMicroscopyImageStorage, generate_uid

print("openslide", openslide.__library_version__, "pydicom", pydicom.__version__)
study, series, frame = (generate_uid() for _ in range(3))


def write(file, pyramid, colour, side, spacing_mm):
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = study, series, frame
    d.PyramidUID, d.Modality, d.ContainerIdentifier = pyramid, "SM", "S1"
    d.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    d.SamplesPerPixel, d.PhotometricInterpretation, d.PlanarConfiguration = 3, "RGB", 0
    d.BitsAllocated = d.BitsStored = 8
    d.HighBit, d.PixelRepresentation, d.Rows, d.Columns, d.NumberOfFrames = 7, 0, side, side, 1
    d.TotalPixelMatrixRows = d.TotalPixelMatrixColumns = side
    d.TotalPixelMatrixFocalPlanes, d.DimensionOrganizationType = 1, "TILED_FULL"
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [spacing_mm, spacing_mm]
    shared.PixelMeasuresSequence = [measures]
    d.SharedFunctionalGroupsSequence = [shared]
    d.add_new("PixelData", "OB", np.full((side, side, 3), colour, np.uint8).tobytes())
    d.save_as(file, enforce_file_format=True)


folder = Path(sys.argv[1]) / "slide"
folder.mkdir()
write(folder / "red.dcm", generate_uid(), (255, 0, 0), 512, 0.0005)
write(folder / "green.dcm", generate_uid(), (0, 255, 0), 256, 0.0005)
slide = openslide.OpenSlide(folder / "red.dcm")
colours = [
    slide.read_region((0, 0), level, (1, 1)).getpixel((0, 0))[:3]
    for level in range(slide.level_count)
]
print("levels", slide.level_dimensions, "colours", colours)
joined = slide.level_count == 2 and colours == [(255, 0, 0), (0, 255, 0)]
print("two pyramids joined into one slide:", joined)
sys.exit(0 if joined else 1)
PY

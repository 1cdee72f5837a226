#!/usr/bin/env bash
# highdicom makes no object from a source image with the character sets that Japanese names need.
#
# SpecificCharacterSet is multi-valued where ISO 2022 escapes are used: ["", "ISO 2022 IR 87"] is the
# example of PS3.5 H.3.1 (Yamada^Tarou), its empty first value being the default repertoire. pydicom
# reads it; highdicom hands each value to an enumeration without an empty one and raises ValueError,
# so that no segmentation or map can be made of such a slide.
# Exits 0 as long as this is so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install highdicom==0.28.2 pydicom==3.0.2 numpy==2.2.6 pillow==11.3.0
"$work/venv/bin/python" - <<'PY'
import sys
import warnings

import highdicom
import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

warnings.simplefilter("ignore")
print("highdicom", highdicom.__version__, "pydicom", pydicom.__version__)


def segment(charset, name):
    source = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    source.SpecificCharacterSet, source.PatientName = charset, name
    return highdicom.seg.Segmentation(
        [source],
        np.ones((1, source.Rows, source.Columns), np.uint8),
        "BINARY",
        [
            highdicom.seg.SegmentDescription(
                1, "a", codes.SCT.Tissue, codes.SCT.Tissue, "MANUAL"
            )
        ],
        generate_uid(), 1, generate_uid(), 1, "m", "m", "1", "1",
    )  # fmt: skip


print("one character set:", segment("ISO_IR 192", "山田^太郎").SpecificCharacterSet)
try:
    segment(["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎")
except ValueError as error:
    print("two character sets: ValueError:", error)
    sys.exit(0)
print("two character sets: accepted")
sys.exit(1)
PY

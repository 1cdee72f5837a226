"""``python -m tests.cases [AREA ...]``: write the tables of unusual inputs anew."""

import sys

from tests.cases import areas, write

for area in sys.argv[1:] or areas():
    write(area)

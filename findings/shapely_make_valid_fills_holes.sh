#!/usr/bin/env bash
# shapely's make_valid turns the part of a hole that lies outside its outline into area.
#
# A polygon whose hole reaches over its outline is a drawing error that annotation tools do write.
# The part of the hole inside can only mean "not this". make_valid's default method "linework" keeps
# every line and fills by the even-odd rule, so the part of the hole outside becomes area of its own:
# the repaired annotation covers tissue that nobody outlined, and more area than the outline has.
# method="structure" subtracts the hole, as GEOS' other algorithm does.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet shapely==2.2.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import shapely

outline = [(100, 100), (200, 100), (200, 200), (100, 200)]
hole = [(150, 150), (250, 150), (250, 250), (150, 250)]
drawn = shapely.Polygon(outline, [hole])
meant = shapely.Polygon(outline).difference(shapely.Polygon(hole)).area
linework = shapely.make_valid(drawn)
structure = shapely.make_valid(drawn, method="structure", keep_collapsed=False)
print("shapely", shapely.__version__, "GEOS", shapely.geos_version_string)
print("outline", shapely.Polygon(outline).area, "outline without the hole", meant)
print("make_valid, default (linework):", linework.geom_type, linework.area)
print("make_valid, structure:", structure.geom_type, structure.area)
assert meant == structure.area == 7500
assert linework.area == 15000
assert linework.area > shapely.Polygon(outline).area
assert linework.contains(shapely.Point(225, 225)), "outside the outline"
PYTHON

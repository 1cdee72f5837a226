"""One rule decides which class counts where areas lie over each other."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from shapely import box

from wsi.annotations import (
    NO_LABEL,
    Annotation,
    Annotations,
    AnnotationSpec,
    describe_overlaps,
    label_areas,
    label_patches,
    rasterize,
    read_annotations,
)
from wsi.annotations.rule import cut_out
from wsi.geometry import Mpp, Size


def drawn(
    *areas: tuple[str, shapely.Geometry], left_out: tuple[Annotation, ...] = ()
) -> Annotations:
    return Annotations("x", tuple(Annotation(*area) for area in areas), left_out=left_out)


@pytest.mark.parametrize("turned", [False, True], ids=["outer first", "inner first"])
def test_inner_area_counts_in_whatever_order_it_is_drawn(turned: bool) -> None:
    areas = [("benign", box(0, 0, 100, 100)), ("cancer", box(20, 20, 60, 60))]
    found = label_areas(drawn(*(areas[::-1] if turned else areas)))
    assert found.area("cancer").area == 1600
    assert found.area("benign").area == 10_000 - 1600
    (overlap,) = found.overlaps
    assert (overlap.counts, overlap.yields, overlap.how) == ("cancer", "benign", "inside")
    assert overlap.describe(Mpp.square(0.5)) == (
        "cancer lies inside benign (1 place, 1,600 px (0.0004 mm2)): the inner area, cancer, "
        "counts there"
    )


def test_three_areas_inside_each_other_alternate() -> None:
    areas = drawn(
        ("cancer", box(0, 0, 100, 100)),
        ("benign", box(10, 10, 90, 90)),
        ("cancer", box(30, 30, 50, 50)),
    )
    found = label_areas(areas)
    assert found.area("cancer").area == 10_000 - 6400 + 400
    assert found.area("benign").area == 6400 - 400


def test_smaller_area_counts_where_two_overlap_partly() -> None:
    found = label_areas(drawn(("a", box(0, 0, 100, 100)), ("b", box(80, 0, 140, 100))))
    assert (found.area("a").area, found.area("b").area) == (8000, 6000)
    (overlap,) = found.overlaps
    assert (overlap.how, overlap.counts, overlap.area_px) == ("partly", "b", 2000)
    assert "the smaller area, b, counts there" in overlap.describe()


def test_what_two_areas_of_one_size_share_has_no_label() -> None:
    found = label_areas(drawn(("a", box(0, 0, 100, 100)), ("b", box(50, 0, 150, 100))))
    assert (found.area("a").area, found.area("b").area) == (5000, 5000)
    assert found.left_out.area == 5000
    assert "the overlap gets no label" in found.overlaps[0].describe()
    labels = label_patches(
        drawn(("a", box(0, 0, 100, 100)), ("b", box(0, 0, 100, 100))),
        np.array([[0, 0], [200, 0]]),
        50,
        50,
        ("a", "b"),
        unlabelled="a",
    )
    assert labels.tolist() == [NO_LABEL, 0]


def test_a_class_that_is_left_out_is_neither_what_lies_around_it_nor_unlabelled() -> None:
    ink = Annotation("ink", box(20, 20, 60, 60))
    found = label_areas(drawn(("cancer", box(0, 0, 100, 100)), left_out=(ink,)))
    assert found.area("cancer").area == 10_000 - 1600
    assert found.left_out.area == 1600
    grid = rasterize(found, Size(200, 100), (10, 20), ("benign", "cancer"), unlabelled="benign")
    assert (grid == NO_LABEL).sum() == 16
    assert (grid == 1).sum() == 84
    assert (grid == 0).sum() == 100


def test_neighbours_that_share_a_border_are_no_news() -> None:
    found = label_areas(drawn(("a", box(0, 0, 100, 100)), ("b", box(99.999, 0, 150, 100))))
    assert found.overlaps == ()
    assert found.area("a").intersection(found.area("b")).area == 0


def test_of_many_overlaps_the_largest_are_told_and_the_rest_summed() -> None:
    names = [f"c{number}" for number in range(8)]
    inner = [(name, box(10 * n, 0, 10 * n + 5 + n / 10, 5)) for n, name in enumerate(names)]
    lines = describe_overlaps(label_areas(drawn(("big", box(0, 0, 100, 100)), *inner)).overlaps)
    assert len(lines) == 6
    assert lines[0].startswith("c7 lies inside big")
    assert lines[-1] == "and 3 more pairs of classes overlap (76 px)"


def test_equal_shares_of_a_patch_go_to_the_class_named_last() -> None:
    halves = drawn(("cancer", box(0, 0, 50, 100)), ("benign", box(50, 0, 100, 100)))
    for classes in (("benign", "cancer"), ("cancer", "benign")):
        assert label_patches(halves, np.array([[0, 0]]), 100, 100, classes).tolist() == [1]


def test_exclusions_cut_what_lies_around_them_and_not_islands_in_them() -> None:
    hole = box(20, 20, 80, 80)
    assert cut_out(box(0, 0, 100, 100), [hole]).area == 10_000 - 3600
    assert cut_out(box(30, 30, 40, 40), [hole]).area == 100
    assert cut_out(shapely.Point(30, 30), [hole]) == shapely.Point(30, 30)
    # A larger exclusion over the border of an area wins as well.
    assert cut_out(box(0, 0, 30, 30), [box(20, 0, 200, 200)]).area == 600


def camelyon(*regions: tuple[str, tuple[int, int, int, int]]) -> str:
    def points(left: int, top: int, right: int, bottom: int) -> str:
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        return "".join(
            f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(corners)
        )

    shapes = "".join(
        f'<Annotation Name="a" Type="Polygon" PartOfGroup="{group}"><Coordinates>{points(*at)}'
        "</Coordinates></Annotation>"
        for group, at in regions
    )
    return f"<ASAP_Annotations><Annotations>{shapes}</Annotations></ASAP_Annotations>"


@pytest.mark.parametrize("exclusion", ["_2", "Exclusion"])
@pytest.mark.parametrize("classes", [{"_0": "cancer"}, {"_0": "cancer", "_2": None}])
def test_camelyons_exclusions_are_cut_out_of_tumours(
    tmp_path: Path, exclusion: str, classes: dict[str, str | None]
) -> None:
    path = tmp_path / "a.xml"
    regions = [("_0", (0, 0, 100, 100)), (exclusion, (20, 20, 60, 60)), ("_0", (30, 30, 40, 40))]
    path.write_text(camelyon(*regions))
    found = read_annotations(path, spec=AnnotationSpec(classes=classes))
    assert label_areas(found).area("cancer").area == 10_000 - 1600 + 100
    assert found.warnings == ("exclusions cut out of the areas around them: 1 (1,600 px)",)


def test_an_exclusion_that_the_class_map_names_is_cut_out_and_is_of_that_class(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.json"
    square, inner = ([[a, a], [b, a], [b, b], [a, b]] for a, b in ((0, 100), (20, 60)))
    path.write_text(
        json.dumps({"positive": [{"vertices": square}], "negative": [{"vertices": inner}]})
    )
    named = AnnotationSpec(classes={"positive": "cancer", "negative": "benign"})
    areas = label_areas(read_annotations(path, spec=named))
    assert (areas.area("cancer").area, areas.area("benign").area) == (8400, 1600)
    alone = label_areas(read_annotations(path, spec=AnnotationSpec(classes={"positive": "cancer"})))
    assert alone.area("cancer").area == 8400
    assert alone.left_out.is_empty


def test_exclusions_can_be_named_and_those_that_cut_nothing_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(
        camelyon(
            ("Tumor", (0, 0, 100, 100)),
            ("normal", (90, 90, 300, 300)),
            ("normal", (500, 500, 510, 510)),
            ("Tumor", (600, 0, 610, 10)),
            ("normal", (600, 0, 610, 10)),
        )
    )
    spec = AnnotationSpec(classes={"Tumor": "cancer"}, exclusions=("normal",))
    found = read_annotations(path, spec=spec)
    assert label_areas(found).area("cancer").area == 10_000 - 100
    assert found.warnings == (
        "annotation 4 (a) is cut out completely: nothing is left",
        "exclusions cut out of the areas around them: 2 (200 px)",
        "exclusions outside every area, which cut nothing: 1",
    )


def test_a_real_region_gives_its_official_mask(real_data: Path) -> None:
    """BCSS region of TCGA-A2-A0YE: 46 outlines and the mask that HistomicsTK made of them."""
    import csv

    from PIL import Image

    folder = real_data / "annotations" / "histomicstk_tcga_brca"
    csv.field_size_limit(10**9)
    with (folder / "sample_GTcodes.csv").open() as file:
        codes = {row["group"]: int(row["GT_code"]) for row in csv.DictReader(file)}
    # What lies in the region and in no other outline is stroma in the official mask.
    codes["roi"] = codes["mostly_stroma"]
    mask = np.asarray(Image.open(next(folder.glob("TCGA-*.png"))))
    with (folder / "sample_contours_df.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    outlines = [
        (
            row["group"],
            np.stack([np.array(row[f"coords_{axis}"].split(","), float) for axis in "xy"], 1),
        )
        for row in rows
    ]
    # Outlines run through the middles of pixels.
    areas = label_areas(
        drawn(
            *(
                (group, shapely.make_valid(shapely.Polygon(xy + 0.5)).buffer(0.01))
                for group, xy in outlines
            )
        )
    )
    names = tuple(areas.classes)
    # Every seventh pixel of both: the middle of a cell of seven is the middle of its fourth.
    rows_, columns = (side // 7 for side in mask.shape)
    mask = mask[3::7, 3::7][:rows_, :columns]
    grid = rasterize(areas, Size(columns * 7, rows_ * 7), mask.shape, names)
    labels = np.array([codes[name] for name in names] + [0])[grid]
    assert len(outlines) == 46
    assert (labels == mask).mean() > 0.9999
    for code in np.unique(mask):
        both, either = ((labels == code) & (mask == code)).sum(), (labels == code) | (mask == code)
        assert both / either.sum() > 0.999, code

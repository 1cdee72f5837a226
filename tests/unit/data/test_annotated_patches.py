"""Patches out of annotated slides get the right labels and pixels."""

import json
from pathlib import Path

import numpy as np
import pytest

from wsi.data.annotated_patches import SlidePatches, annotated_patches
from wsi.errors import AnnotationError, ConfigError, DatasetError
from wsi.geometry import Region, Size
from wsi.slides import open_slide
from wsi.testing.slides import SyntheticSlide, synthetic_slide

CLASSES = ("background", "benign", "cancer")


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SyntheticSlide]:
    folder = tmp_path_factory.mktemp("slides")
    return {
        name: synthetic_slide(folder / f"{name}.tif", 2048, 0.5, seed=seed, geojson=True)
        for seed, name in enumerate(("a", "b"))
    }


@pytest.fixture
def table(slides: dict[str, SyntheticSlide]) -> Path:
    path = slides["a"].path.parent / "table.csv"
    path.write_text(
        "slide,annotations,patient,split\n"
        "a.tif,a.geojson,p1,train\n"
        "b.tif,b.geojson,p2,val\n"
        "gone.tif,gone.geojson,p3,test\n"
    )
    return path


def sources(table: Path, **options: object) -> tuple[SlidePatches, SlidePatches]:
    return annotated_patches(table, CLASSES, mpp=1.0, size_px=64, **options)  # type: ignore[arg-type]


def test_labels_agree_with_the_known_tissue(table: Path, slides: dict[str, SyntheticSlide]) -> None:
    train, _ = sources(table, unlabelled="benign")
    truth = slides["a"]
    cells = 128 // truth.mask_px  # a patch of 64 px at 1.0 mpp is 128 level-0 px
    for index, label in enumerate(train.labels_n):
        row, column = train._cells_n2[index]
        window = np.s_[row * cells : (row + 1) * cells, column * cells : (column + 1) * cells]
        cancer, tissue = truth.cancer_mask[window].mean(), truth.tissue_mask[window].mean()
        if CLASSES[label] == "cancer":
            assert cancer > 0.4
        elif CLASSES[label] == "benign":
            assert cancer < 0.1
            assert tissue > 0.2
        else:
            assert tissue < 0.1
    assert set(train.labels_n) == {0, 1, 2}


def test_pixels_are_those_of_the_slide(table: Path, slides: dict[str, SyntheticSlide]) -> None:
    train, _ = sources(table, unlabelled="benign")
    row, column = train._cells_n2[3]
    with open_slide(slides["a"].path) as slide:
        expected = slide.read_region(Region(column * 128, row * 128, 128, 128), Size(64, 64))
    np.testing.assert_array_equal(train.read(np.array([3]))[0], expected)
    assert f"a.tif x={column * 128} y={row * 128} (patient p1)" == train.describe(3)


def test_tissue_that_nobody_annotated_is_left_out_unless_asked_for(table: Path) -> None:
    train, validation = sources(table)
    assert CLASSES.index("benign") not in train.labels_n
    assert set(train.patients_n) == {"p1"}
    assert set(validation.patients_n) == {"p2"}
    with pytest.raises(ConfigError, match="unlabelled"):
        sources(table, unlabelled="stroma")


def test_an_unknown_class_is_refused_until_it_is_mapped(table: Path) -> None:
    other = table.with_name("renamed.geojson")
    other.write_text(table.with_name("a.geojson").read_text().replace('"cancer"', '"Tumour"'))
    table.write_text(table.read_text().replace("a.geojson", other.name))
    with pytest.raises(AnnotationError, match="Tumour"):
        sources(table)
    train, _ = sources(table, class_map={"Tumour": "cancer"})
    assert CLASSES.index("cancer") in train.labels_n
    without, _ = sources(table, class_map={"Tumour": None})
    assert CLASSES.index("cancer") not in without.labels_n


def test_a_split_without_patches_is_refused(table: Path) -> None:
    table.write_text(table.read_text().replace(",val", ",test"))
    with pytest.raises(DatasetError, match="split val"):
        sources(table)


def test_patches_of_a_normalized_slide_have_the_reference_stain(table: Path) -> None:
    plain, _ = sources(table, unlabelled="benign")
    normal, _ = sources(table, unlabelled="benign", stain_normalization="macenko")
    np.testing.assert_array_equal(plain.labels_n, normal.labels_n)
    some = np.flatnonzero(plain.labels_n == 2)[:3]
    assert not np.array_equal(plain.read(some), normal.read(some))


def nested(table: Path, *areas: tuple[str, tuple[int, int, int, int]]) -> Path:
    """Both slides annotated with these boxes, whatever is on them."""

    def feature(name: str, box: tuple[int, int, int, int]) -> dict[str, object]:
        left, top, right, bottom = box
        ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
        return {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"objectType": "annotation", "classification": {"name": name}},
        }

    drawn = table.with_name("nested.geojson")
    drawn.write_text(json.dumps([feature(*one) for one in areas]))
    text = table.read_text().replace("a.geojson", drawn.name).replace("b.geojson", drawn.name)
    table.write_text(text)
    return table


OUTER, INNER = (256, 256, 1792, 1792), (768, 768, 1280, 1280)


@pytest.mark.parametrize("classes", [CLASSES, ("background", "cancer", "benign")])
def test_cancer_drawn_inside_benign_tissue_is_cancer_and_that_is_told(
    table: Path, classes: tuple[str, ...]
) -> None:
    told: list[str] = []
    where = nested(table, ("benign", OUTER), ("cancer", INNER))
    train, _ = annotated_patches(where, classes, mpp=1.0, size_px=64, tell=told.append)
    counts = {name: int((train.labels_n == n).sum()) for n, name in enumerate(classes)}
    assert counts["cancer"] == 4 * 4
    assert counts["benign"] == 12 * 12 - 4 * 4
    assert told[0] == (
        "a.tif: cancer lies inside benign (1 place, 262,144 px (0.0655 mm2)): the inner area, "
        "cancer, counts there"
    )


def test_an_area_that_is_left_out_gets_no_label_at_all(table: Path) -> None:
    where = nested(table, ("cancer", OUTER), ("ink", INNER))
    told: list[str] = []
    train, _ = sources(where, class_map={"ink": None}, unlabelled="benign", tell=told.append)
    # Corners of 128 px patches.
    rows, columns = train._cells_n2[: int((train._which_n == 0).sum())].T * 128
    inside = (rows >= 768) & (rows < 1280) & (columns >= 768) & (columns < 1280)
    assert not inside.any()
    assert any("areas of class 'ink' left out: 1" in line for line in told)


def test_a_class_map_to_something_that_is_no_class_is_refused(table: Path) -> None:
    with pytest.raises(ConfigError, match="the class map names tumour: not among the classes"):
        sources(table, class_map={"Tumour": "tumour"})


def test_points_and_lines_that_label_nothing_are_told(table: Path) -> None:
    where = nested(table, ("cancer", OUTER))
    path = table.with_name("nested.geojson")
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [5, 5]}}
    named = point | {"properties": {"classification": {"name": "cancer"}}}
    path.write_text(json.dumps([*json.loads(path.read_text()), named]))
    told: list[str] = []
    sources(where, tell=told.append)
    assert "a.tif: points and lines without an area, which give no label: 1" in told


def test_annotations_on_glass_are_told(table: Path) -> None:
    told: list[str] = []
    sources(nested(table, ("cancer", (0, 0, 200, 200))), tell=told.append)
    assert any("100% of the annotated area is outside the tissue" in line for line in told)

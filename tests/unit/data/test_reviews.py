"""Reviewed slides become a training set that contradicts neither itself nor its readers."""

import csv
from pathlib import Path

import pytest
import shapely

from wsi.annotations import Annotation, Annotations, read_annotations
from wsi.data.reviews import (
    DecidedHotspot,
    ReviewedSlide,
    training_regions,
    write_training_set,
)
from wsi.errors import DatasetError


def spot(decision: str, *bounds: float, class_name: str = "cancer") -> DecidedHotspot:
    box = shapely.box(*bounds)
    return DecidedHotspot(class_name=class_name, polygon=box, decision=decision)  # type: ignore[arg-type]


def slide(name: str, path: str = "") -> ReviewedSlide:
    regions = Annotations(name, (Annotation("cancer", shapely.box(0, 0, 9, 9)),))
    return ReviewedSlide(
        id=f"id-of-{name}", name=name, path=path or name, mpp=0.5, diagnosis="", regions=regions
    )


def lines(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_agreed_hotspots_are_of_their_class_and_others_are_negative_examples() -> None:
    found = training_regions(
        "a", [], [spot("agree", 0, 0, 10, 10), spot("disagree", 50, 0, 60, 10)], "benign"
    )
    assert [(r.class_name, r.geometry.area) for r in found] == [("cancer", 100), ("benign", 100)]


def test_what_is_drawn_wins_over_hotspots_and_agreement_over_disagreement() -> None:
    drawn = [Annotation("stroma", shapely.box(0, 0, 5, 10))]
    spots = [spot("disagree", 0, 0, 20, 10), spot("agree", 0, 0, 10, 10)]
    found = training_regions("a", drawn, spots, "benign")
    assert {r.class_name: r.geometry.bounds for r in found} == {
        "stroma": (0, 0, 5, 10),
        "cancer": (5, 0, 10, 10),
        "benign": (10, 0, 20, 10),
    }


def test_points_and_lengths_are_no_regions_and_a_covered_hotspot_is_gone() -> None:
    drawn = [
        Annotation("mitosis", shapely.Point(3, 3)),
        Annotation("unclassified", shapely.LineString([(0, 0), (5, 5)])),
        Annotation("benign", shapely.box(0, 0, 30, 30)),
    ]
    found = training_regions("a", drawn, [spot("agree", 1, 1, 9, 9)], "benign")
    assert [r.class_name for r in found] == ["benign"]


def test_the_table_names_what_training_reads(tmp_path: Path) -> None:
    table = write_training_set(tmp_path / "set", [slide("a slide.svs", "/slides/a.svs")])
    (line,) = lines(table)
    assert (line["slide"], line["patient"]) == ("/slides/a.svs", "a slide.svs")
    assert float(line["mpp"]) == 0.5
    found = read_annotations(table.parent / line["annotations"])
    assert found.classes == ("cancer",)


def test_neither_split_is_empty_and_patients_keep_theirs(tmp_path: Path) -> None:
    few = [slide(f"{i}.svs") for i in range(2)]
    assert {line["split"] for line in lines(write_training_set(tmp_path / "a", few))} == {
        "train",
        "val",
    }
    many = [slide(f"{i}.svs") for i in range(60)]
    first = {
        line["slide"]: line["split"] for line in lines(write_training_set(tmp_path, many[:40]))
    }
    second = {line["slide"]: line["split"] for line in lines(write_training_set(tmp_path, many))}
    assert {name: second[name] for name in first} == first
    assert 4 < list(second.values()).count("val") < 22


def test_what_people_wrote_into_the_table_stays(tmp_path: Path) -> None:
    table = write_training_set(tmp_path, [slide("a.svs"), slide("b.svs")])
    text = table.read_text().replace("a.svs,", "/mnt/a.svs,", 1)
    table.write_text(text.replace(",a.svs,train", ",P1,test").replace(",a.svs,val", ",P1,test"))
    write_training_set(tmp_path, [slide("a.svs"), slide("b.svs", "/found/b.svs")])
    a, b = lines(table)
    assert (a["slide"], a["patient"], a["split"]) == ("/mnt/a.svs", "P1", "test")
    assert b["slide"] == "/found/b.svs"


def test_no_slide_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no reviewed slide"):
        write_training_set(tmp_path, [])

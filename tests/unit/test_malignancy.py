"""Which classes are malignant, how suspicious a slide is, and how a probability is written."""

import pytest

from wsi.errors import ConfigError
from wsi.malignancy import (
    check_malignant,
    malignant_by_name,
    malignant_classes,
    probability_text,
    suspicion,
    why_no_suspicion,
)

THREE = ("normal", "ductal carcinoma in situ", "invasive carcinoma")


@pytest.mark.parametrize(
    "name",
    [
        "cancer", "Tumour", "tumor_1", "adenocarcinoma", "InvasiveCarcinoma", "DCIS", "TUM",
        "metastasis", "micrometastases", "non-small cell lung cancer", "non-invasive carcinoma",
        "Non-Hodgkin lymphoma", "melanoma in situ", "gleason_4", "malignant", "Karzinom",
    ],
)  # fmt: skip
def test_a_name_that_speaks_of_cancer_is_malignant(name: str) -> None:
    assert malignant_by_name(["x", name]) == (name,)


@pytest.mark.parametrize(
    "name",
    [
        "normal", "benign", "benign_tumour", "non-cancer", "nontumor", "tumor_free", "not cancer",
        "no evidence of malignancy", "tumor negative", "normal adjacent to tumor", "precancerous",
        "cancer-associated stroma", "tumor-infiltrating lymphocytes", "peritumoral", "adenoma",
        "positive", "a", "melanocytic nevus", "Non-cancerous",
    ],
)  # fmt: skip
def test_a_name_that_denies_it_or_says_nothing_is_not(name: str) -> None:
    assert malignant_by_name([name]) == ()


def test_the_last_class_is_taken_for_the_most_severe_by_name_and_the_card_has_the_say() -> None:
    assert malignant_classes(THREE) == ("invasive carcinoma", "ductal carcinoma in situ")
    assert malignant_classes(THREE, ["invasive carcinoma"]) == ("invasive carcinoma",)
    assert malignant_classes(THREE, []) == ()


def test_suspicion_is_the_sum_over_the_malignant_classes() -> None:
    both = {"normal": 0.0, "ductal carcinoma in situ": 0.5, "invasive carcinoma": 0.5}
    assert suspicion(both, malignant_classes(THREE)) == 1.0
    assert suspicion({"benign": 0.4, "cancer": 0.6}, ("cancer",)) == 0.6
    rounded = {"a": 1e-9, "b": 0.6, "c": 0.4000001}
    assert suspicion(rounded, ("b", "c")) == 1.0


def test_suspicion_is_unknown_without_result_or_malignant_class_or_another() -> None:
    assert suspicion({}, ("cancer",)) is None
    assert suspicion({"a": 0.9, "b": 0.1}, ()) is None
    # A model that tells two cancers apart calls every slide malignant: that says nothing.
    assert suspicion({"luad": 0.9, "lusc": 0.1}, ("luad", "lusc")) is None


def test_a_reader_is_told_why_there_is_no_suspicion() -> None:
    unknown = why_no_suspicion(("a", "b"), ())
    assert unknown is not None
    assert unknown.startswith("it is not known which of the classes a, b are malignant")
    every = why_no_suspicion(("luad", "lusc"), ("luad", "lusc"))
    assert every == "no suspicion is given: all classes are malignant (luad, lusc)"
    assert why_no_suspicion(("benign", "cancer"), ("cancer",)) is None


def test_a_malignant_class_must_be_a_class_and_named_once() -> None:
    check_malignant(("a", "b"), None)
    check_malignant(("a", "b"), ["b"])
    with pytest.raises(ConfigError, match="malignant class 'c' is not one of the classes: a, b"):
        check_malignant(("a", "b"), ["c"])
    with pytest.raises(ConfigError, match="listed twice: b, b"):
        check_malignant(("a", "b"), ["b", "b"])


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "> 0.999"), (0.9996, "> 0.999"), (0.999, "0.999"), (0.5, "0.500"), (0.0004, "< 0.001")],
)
def test_a_probability_claims_no_certainty(value: float, text: str) -> None:
    assert probability_text(value) == text

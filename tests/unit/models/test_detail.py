"""Whether a slide is fine enough for a model, by the model's card alone."""

import numpy as np
import pytest

from wsi.errors import MppError
from wsi.geometry import Mpp, Size
from wsi.models.card import ModelCard
from wsi.models.detail import DRAWN_MPP, detail_warnings, require_detail_for, wanted_mpp
from wsi.testing.fakes import ArraySlide

SIZE = Size(1000, 500)


def card(**more: object) -> ModelCard:
    asked = {"name": "m", "pipeline": "p", "architecture": "a", "classes": ("x", "y"), "mpp": 0.0,
             "input_px": 0, **more}  # fmt: skip
    return ModelCard(**asked)  # type: ignore[arg-type]


def test_a_model_with_a_resolution_wants_that() -> None:
    assert wanted_mpp(card(mpp=2.0, input_px=224), Mpp.square(9.0), SIZE) == 2.0


def test_a_fusion_sees_no_pixels_itself() -> None:
    assert wanted_mpp(card(), Mpp.square(9.0), SIZE) is None
    assert require_detail_for(card(), "a.tif", Mpp.square(9.0), SIZE) == ()


def test_a_fitted_model_wants_as_many_pixels_as_its_input_has() -> None:
    fitted = card(input_px=10_000)
    assert wanted_mpp(fitted, Mpp.square(30.0), SIZE) == 3.0
    with pytest.raises(MppError, match=r"the slide has 30 um/px, and the model 'm' needs 3 um/px"):
        require_detail_for(fitted, "a.tif", Mpp.square(30.0), SIZE)
    assert require_detail_for(fitted, "a.tif", Mpp.square(0.5), Size(40_000, 9_000)) == ()


def test_a_small_biopsy_is_not_coarse_for_a_fitted_model_that_learned_from_coarser_ones() -> None:
    fitted = card(input_px=10_000, training={DRAWN_MPP: 4.0})
    assert require_detail_for(fitted, "a.tif", Mpp.square(0.5), SIZE) == ()
    with pytest.raises(MppError, match=r"30 um/px, and the model 'm' needs 4 um/px"):
        require_detail_for(fitted, "a.tif", Mpp.square(30.0), SIZE)


def test_an_open_slide_is_judged_by_the_resolution_that_is_used() -> None:
    slide = ArraySlide(np.zeros((50, 50, 3), np.uint8), 2.5)
    assert "1.25 times too coarse" in detail_warnings(card(mpp=2.0), slide)[0]
    bare = ArraySlide(np.zeros((50, 50, 3), np.uint8), None)
    with pytest.raises(MppError, match="has no resolution"):
        detail_warnings(card(mpp=2.0), bare)

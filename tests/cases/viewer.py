"""Suspicion, hotspots and what is shown of them."""

import dataclasses
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from tests.cases import Case
from wsi.cli.analyze import describe
from wsi.cli.main import main
from wsi.cli.malignant import malignant_of
from wsi.errors import ModelError
from wsi.explanations import find_hotspots
from wsi.geometry import Point, Size
from wsi.malignancy import probability_text
from wsi.models.card import CARD_FILE, ModelCard, read_card
from wsi.pipelines.base import malignancy_warnings
from wsi.storage import HeatmapGrid, SlideResult
from wsi.storage.geojson import hotspots_to_geojson
from wsi.tissue import TissueMask

_THREE = ("normal", "ductal carcinoma in situ", "invasive carcinoma")
_CARD = ModelCard(
    name="m", pipeline="patch", architecture="resnet10", classes=_THREE, mpp=1.0, input_px=8
)


def _result(*chances: float, classes: tuple[str, ...] = _THREE) -> SlideResult:
    return SlideResult(
        slide="slide",
        pipeline="patch",
        model="m",
        model_digest="d",
        classes=classes,
        probabilities=dict(zip(classes, chances, strict=True)),
    )


def _two_malignant(folder: Path) -> str:
    return describe(_result(0.0, 0.5, 0.5))


def _unknown(folder: Path) -> str:
    result = _result(0.1, 0.9, classes=("positive", "negative"))
    (warning,) = malignancy_warnings(dataclasses.replace(_CARD, classes=result.classes))
    return f"suspicion {result.suspicion}; {warning}"


def _all_malignant(folder: Path) -> str:
    result = _result(0.1, 0.9, classes=("adenocarcinoma", "squamous cell carcinoma"))
    (warning,) = malignancy_warnings(dataclasses.replace(_CARD, classes=result.classes))
    return f"suspicion {result.suspicion}; {warning}"


def _denied(folder: Path) -> str:
    result = _result(0.9, 0.1, classes=("benign tumour", "non-small cell carcinoma"))
    return f"malignant: {', '.join(result.malignant_classes)}; suspicion {result.suspicion}"


def _misspelt(folder: Path) -> str:
    (folder / "t.csv").write_text("path,label,patient,split\n")
    options = ["--table", str(folder / "t.csv"), "--out", str(folder / "m"), "--mpp", "1"]
    done = CliRunner().invoke(main, ["train", "patch", *options, "--malignant", "cancre"])
    return done.output.splitlines()[-1]


def _wrong_card(folder: Path) -> str:
    card = dataclasses.replace(_CARD, malignant=("carcinoma",))
    (folder / CARD_FILE).write_text(card.to_json())
    try:
        read_card(folder)
    except ModelError as error:
        return str(error)
    return "accepted"


def _in_training(folder: Path) -> str:
    return f"the card calls malignant: {', '.join(malignant_of(None, _THREE))}"


def _certain(folder: Path) -> str:
    return ", ".join(f"{value} is printed {probability_text(value)}" for value in (1.0, 0.9996, 0))


def _beyond_tissue(folder: Path) -> str:
    # Cells of 100 px over a slide of 750 x 550 px whose left 350 px are tissue; all are cancer.
    mask = np.zeros((55, 75), bool)
    mask[:, :35] = True
    tissue = TissueMask(mask=mask, size=Size(750, 550))
    grid = HeatmapGrid(
        origin_level0=Point(0, 0), cell_level0=(100.0, 100.0), shape=(6, 8), mpp=50.0
    )
    values = np.stack([np.zeros(grid.shape), np.ones(grid.shape)]).astype(np.float32)
    found = find_hotspots(values, grid, ("benign", "cancer"), ("cancer",), tissue)
    (spot,) = found.listed
    down = max(y for _, y in spot.polygon_level0)
    return (
        f"a hotspot of {spot.area_um2 / 1e6:.4f} mm2 on {tissue.area_px * 0.25 / 1e6:.4f} mm2 of "
        f"tissue; its outline ends at {down:.0f} px"
    )


def _many(folder: Path) -> str:
    grid = HeatmapGrid(origin_level0=Point(0, 0), cell_level0=(10.0, 10.0), shape=(2, 262), mpp=5.0)
    tissue = TissueMask(mask=np.ones((2, 262), bool), size=Size(2620, 20))
    cancer = np.zeros(grid.shape, np.float32)
    cancer[0, ::2] = 0.9
    values = np.stack([1 - cancer, cancer])
    found = find_hotspots(values, grid, ("benign", "cancer"), ("cancer",), tissue)
    result = dataclasses.replace(
        _result(0.1, 0.9, classes=("benign", "cancer")), **found.of_result()
    )
    told = hotspots_to_geojson(result)["properties"]
    return f"{describe(result)}; GeoJSON says {told['listed']} of {told['total']}"


CASES = (
    Case(input="two malignant classes of 50 % each", run=_two_malignant),
    Case(input="class names that do not say what is malignant", run=_unknown),
    Case(input="a model whose classes are all malignant", run=_all_malignant),
    Case(input="class names that deny cancer, or only seem to", run=_denied),
    Case(input="training without --malignant", run=_in_training),
    Case(input="training with --malignant misspelt", run=_misspelt),
    Case(input="a card that calls a class malignant that it does not have", run=_wrong_card),
    Case(input="probabilities of 1, almost 1 and 0", run=_certain),
    Case(input="heatmap cells over glass and beyond the slide", run=_beyond_tissue),
    Case(input="131 hotspots", run=_many),
)

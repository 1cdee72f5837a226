"""Results go into the store and come back the same; heatmaps are OME-Zarr."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from wsi.errors import ArtifactMissingError
from wsi.geometry import Point, Region
from wsi.storage import (
    DamagedRegion,
    HeatmapGrid,
    HeatmapLayer,
    Hotspot,
    SlideResult,
    SlideStore,
    get_result,
    heatmap_path,
    put_result,
    result_to_json,
)


def example() -> SlideResult:
    values = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    values[:, 0, 0] = np.nan
    return SlideResult(
        slide="s.svs",
        pipeline="patch",
        model="m",
        model_digest="abc",
        classes=("benign", "cancer"),
        probabilities={"benign": 0.25, "cancer": 0.75},
        grid=HeatmapGrid(
            origin_level0=Point(0, 0), cell_level0=(128.0, 128.0), shape=(3, 4), mpp=64.0
        ),
        layers=(HeatmapLayer(kind="probability", values_chw=values),),
        hotspots=(
            Hotspot(
                polygon_level0=((0.0, 0.0), (128.0, 0.0), (128.0, 128.0), (0.0, 0.0)),
                centre_level0=Point(64, 64),
                class_name="cancer",
                score=0.9,
                mean_score=0.8,
                area_um2=4096.0,
            ),
        ),
        damaged=(DamagedRegion(region=Region(1, 2, 3, 4), reason="bad tile"),),
        timings_s={"tissue": 0.1},
        details={"patches": 12},
        warnings=("one patch was left out",),
    )


def test_a_result_is_read_back_as_it_was_stored(tmp_path: Path) -> None:
    store = SlideStore(str(tmp_path / "s.zarr"))
    put_result(store, "job-1", example())
    back = get_result(store, "job-1")
    assert result_to_json(back) == result_to_json(example())
    np.testing.assert_array_equal(back.layers[0].values_chw, example().layers[0].values_chw)
    assert back.layer("probability") is back.layers[0]
    assert back.layer("gradcam") is None


def test_a_result_without_tissue_is_stored_too(tmp_path: Path) -> None:
    store = SlideStore(str(tmp_path / "s.zarr"))
    empty = SlideResult(
        slide="s.svs",
        pipeline="patch",
        model="m",
        model_digest="abc",
        classes=("benign", "cancer"),
        probabilities={},
        outcome="no_tissue",
    )
    put_result(store, "job-1", empty)
    assert get_result(store, "job-1") == empty


def test_an_unknown_result_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissingError):
        get_result(SlideStore(str(tmp_path / "s.zarr")), "job-1")


def test_a_heatmap_states_its_place_as_ome_zarr(tmp_path: Path) -> None:
    store = SlideStore(str(tmp_path / "s.zarr"))
    put_result(store, "job-1", example())
    group = zarr.open_group(f"{store.url}/{heatmap_path('job-1', 'probability')}", mode="r")
    ome = group.attrs["ome"]
    assert ome["version"] == "0.5"
    (scale,) = ome["multiscales"]
    assert [axis["name"] for axis in scale["axes"]] == ["c", "y", "x"]
    transforms = scale["datasets"][0]["coordinateTransformations"]
    assert transforms[0] == {"type": "scale", "scale": [1.0, 64.0, 64.0]}
    # The centre of the first cell lies half a cell from the slide's corner.
    assert transforms[1] == {"type": "translation", "translation": [0.0, 32.0, 32.0]}
    assert group["0"].shape == (2, 3, 4)

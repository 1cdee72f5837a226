"""Results go into the store and come back the same; heatmaps are OME-Zarr."""

import dataclasses
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
                holes_level0=(((8.0, 8.0), (16.0, 8.0), (16.0, 16.0), (8.0, 8.0)),),
            ),
        ),
        hotspot_total=131,
        hotspot_area_um2=9000.0,
        hotspot_threshold=0.5,
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


def three_classes() -> SlideResult:
    values = np.array([0.0, 0.5, 0.5, 0.2, 0.7, 0.1], np.float32).reshape(2, 3).T[:, :, None]
    return dataclasses.replace(
        example(),
        classes=("normal", "dcis", "invasive"),
        malignant=("invasive", "dcis"),
        probabilities={"normal": 0.0, "dcis": 0.5, "invasive": 0.5},
        layers=(
            HeatmapLayer(kind="probability", values_chw=values),
            HeatmapLayer(kind="gradcam", values_chw=values),
        ),
    )


def test_suspicion_is_the_sum_of_the_malignant_classes_and_stored_beside_them(
    tmp_path: Path,
) -> None:
    store = SlideStore(str(tmp_path / "s.zarr"))
    put_result(store, "job-1", three_classes())
    back = get_result(store, "job-1")
    assert back.suspicion == 1.0
    assert back.malignant == ("invasive", "dcis")
    assert result_to_json(back)["suspicion"] == 1.0


def test_an_old_result_goes_by_the_names_of_its_classes(tmp_path: Path) -> None:
    store = SlideStore(str(tmp_path / "s.zarr"))
    old = result_to_json(example())
    for key in ("suspicion", "malignant", "hotspot_total", "hotspot_area_um2"):
        del old[key]
    del old["hotspots"][0]["holes_level0"]
    store.put("results", "job-1", {}, old | {"layers": []})
    back = get_result(store, "job-1")
    assert (back.malignant, back.malignant_classes, back.suspicion) == (None, ("cancer",), 0.75)
    assert (back.hotspot_total, back.hotspots[0].holes_level0) == (None, ())
    assert result_to_json(back)["malignant"] == ["cancer"]


def test_the_malignant_classes_have_one_map_together_where_values_add_up() -> None:
    result = three_classes()
    assert result.map_names("probability") == ("normal", "dcis", "invasive", "all-malignant")
    assert result.map_names("gradcam") == ("normal", "dcis", "invasive")
    together = result.map_of("probability", "all-malignant")
    assert together is not None
    np.testing.assert_allclose(together, [[1.0], [0.8]], rtol=1e-6)
    assert result.map_of("gradcam", "all-malignant") is None
    assert result.map_of("attention", "dcis") is None
    assert result.first_map("probability") == "all-malignant"
    assert result.first_map("gradcam") == "invasive"


def test_one_malignant_class_is_the_first_map_wherever_it_stands() -> None:
    result = dataclasses.replace(example(), classes=("cancer", "benign"))
    assert result.first_map("probability") == "cancer"
    unknown = dataclasses.replace(example(), classes=("a", "b"), probabilities={"a": 0.4, "b": 0.6})
    assert (unknown.first_map("probability"), unknown.suspicion) == ("b", None)


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

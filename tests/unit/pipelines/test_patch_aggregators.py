"""The patch pipeline with aggregators that were trained for it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from wsi.data.heatmap_features import FeatureTable
from wsi.errors import ModelError
from wsi.models.aggregators import FEATURES, TopK
from wsi.models.aggregators.attention import AttentionNetwork, AttentionSpec
from wsi.models.aggregators.stored import PIPELINE, join_bundles, load_aggregator, pack_attention
from wsi.models.bundle import save_bundle
from wsi.models.card import ModelCard
from wsi.pipelines.base import load_pipeline
from wsi.pipelines.patch import PatchPipeline
from wsi.progress import no_progress
from wsi.slides import open_slide
from wsi.storage import SlideStore, get_result, put_result
from wsi.testing.models import untrained_patch_bundle
from wsi.testing.slides import synthetic_slide
from wsi.training.aggregator import TreeTraining, train_trees

SLIDE_CLASSES = ("benign", "cancer")
WIDTH = 512  # of resnet10's last feature map


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    untrained_patch_bundle(folder / "patch")
    torch.manual_seed(2)
    spec = {"kind": "clam", "features": WIDTH, "classes": 2, "hidden": 8, "attention": 4}
    network = AttentionNetwork(AttentionSpec(**spec))  # type: ignore[arg-type]
    card = ModelCard(
        name="clam",
        pipeline=PIPELINE,
        architecture="clam",
        classes=SLIDE_CLASSES,
        mpp=0.0,
        input_px=0,
        settings={"aggregator": {"kind": "clam", "classes": list(SLIDE_CLASSES), "spec": spec}},
    )
    state = pack_attention(network.state_dict(), torch.zeros(WIDTH), torch.ones(WIDTH))
    save_bundle(folder / "clam", card, state)
    join_bundles(folder / "patch", folder / "clam", folder / "with-clam")
    rng = np.random.default_rng(0)
    table = FeatureTable(
        source="made",
        names_n=np.arange(20).astype(str),
        patients_n=np.arange(20).astype(str),
        by_patient=False,
        labels_n=np.arange(20) % 2,
        features=FEATURES,
        values_nf=rng.random((20, len(FEATURES))),
    )
    config = TreeTraining(
        name="forest", kind="random-forest", classes=SLIDE_CLASSES, trees=5, repeats=0
    )
    train_trees(table, config, folder / "forest")
    join_bundles(folder / "patch", folder / "forest", folder / "with-forest")
    return folder


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_slide(tmp_path_factory.mktemp("slides") / "s.tif", 1536, 0.5, seed=4).path


def test_attention_decides_and_lies_on_the_grid_of_the_heatmaps(
    models: Path, slide_file: Path, tmp_path: Path
) -> None:
    store = SlideStore(str(tmp_path / "store.zarr"))
    pipeline = load_pipeline("patch", models / "with-clam")
    assert isinstance(pipeline, PatchPipeline)
    with open_slide(slide_file) as slide:
        result = pipeline.analyze(slide, store, no_progress)
        features = pipeline.slide_features(slide, store)
    assert features is not None
    call = load_aggregator(models / "clam")[1].aggregate(features)
    assert result.probabilities == pytest.approx(call.probabilities)
    layer, probability = result.layer("attention"), result.layer("probability")
    assert layer is not None
    assert probability is not None
    assert layer.values_chw.shape == probability.values_chw.shape
    np.testing.assert_array_equal(np.isnan(layer.values_chw), np.isnan(probability.values_chw))
    np.testing.assert_allclose(np.nanmax(layer.values_chw, axis=(1, 2)), [0, 1, 1])
    put_result(store, "r", result)
    assert get_result(store, "r").layer("attention") is not None


def test_a_forest_decides_where_the_bundle_names_one(
    models: Path, slide_file: Path, tmp_path: Path
) -> None:
    store = SlideStore(str(tmp_path / "store.zarr"))
    with open_slide(slide_file) as slide:
        plain = load_pipeline("patch", models / "patch").analyze(slide, store, no_progress)
        forest = load_pipeline("patch", models / "with-forest").analyze(slide, store, no_progress)
        pipeline = load_pipeline("patch", models / "patch")
        assert isinstance(pipeline, PatchPipeline)
        features = pipeline.slide_features(slide, store)
    assert features is not None
    expected = load_aggregator(models / "forest")[1].aggregate(features)
    assert forest.probabilities == pytest.approx(expected.probabilities)
    assert plain.probabilities == pytest.approx(
        TopK(10).aggregate(features).probabilities, rel=1e-5
    )
    assert forest.layer("attention") is None
    assert forest.model_digest != plain.model_digest
    for one, other in zip(plain.layers, forest.layers, strict=True):
        np.testing.assert_array_equal(one.values_chw, other.values_chw)


def test_an_aggregator_alone_is_no_patch_model(models: Path) -> None:
    with pytest.raises(ModelError, match="pipeline aggregator, not patch"):
        load_pipeline("patch", models / "forest")


def test_embeddings_are_made_once_and_read_from_the_store_after_that(
    models: Path, slide_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SlideStore(str(tmp_path / "store.zarr"))
    pipeline = load_pipeline("patch", models / "patch")
    assert isinstance(pipeline, PatchPipeline)
    with open_slide(slide_file) as slide:
        first = pipeline.slide_features(slide, store)
        assert store.digests("embeddings") == (pipeline.features_digest(slide),)
        monkeypatch.setattr(pipeline, "_forward", None)
        second = pipeline.slide_features(slide, store)
    assert first is not None
    assert second is not None
    assert first.embeddings_nd is not None
    assert second.embeddings_nd is not None
    np.testing.assert_array_equal(first.embeddings_nd, second.embeddings_nd)
    np.testing.assert_array_equal(first.probability_chw, second.probability_chw)

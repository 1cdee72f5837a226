"""What is lost or spoiled in a store is an error, never a value; two writers never mix."""

import json
import multiprocessing
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.errors import ContainsGroupError

from tests.unit.storage.test_result_store import example
from wsi.errors import StoreError
from wsi.storage import SlideStore, get_result, heatmap_path, put_result
from wsi.storage.ome_zarr import heatmap_zip

LARGE = np.zeros((2, 600, 700), np.float32)


@pytest.fixture
def store(tmp_path: Path) -> SlideStore:
    return SlideStore(str(tmp_path / "slide.zarr"))


def chunks_of(store: SlideStore, artifact: str) -> list[Path]:
    return sorted(path for path in Path(store.url, artifact).rglob("c/**/*") if path.is_file())


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [
        (Path.unlink, "1 of 1 chunks are missing"),
        (truncate, "decompression error"),
        (flip, "decompression error"),
        (lambda path: path.write_bytes(b""), "decompression error"),
    ],
)
def test_a_lost_or_spoiled_chunk_of_a_heatmap_is_reported(
    store: SlideStore, spoil: Callable[[Path], object], wanted: str
) -> None:
    store.assign("d" * 32, "case.svs")
    put_result(store, "job-1", example())
    (chunk,) = chunks_of(store, heatmap_path("job-1", "probability"))
    spoil(chunk)
    with pytest.raises(StoreError, match=rf"case\.svs: heatmaps/job-1-probability.*{wanted}"):
        get_result(store, "job-1")


def test_a_chunk_of_zeros_is_stored_and_its_loss_is_noticed(store: SlideStore) -> None:
    store.put("heatmaps", "d1", {"0": LARGE}, {})
    chunks = chunks_of(store, "heatmaps/d1")
    assert len(chunks) > 1
    assert not store.get("heatmaps", "d1").arrays["0"].any()
    chunks[-1].unlink()
    with pytest.raises(StoreError, match=rf"array '0': 1 of {len(chunks)} chunks are missing"):
        store.get("heatmaps", "d1")


def test_a_lost_chunk_of_a_mask_is_reported(store: SlideStore) -> None:
    store.put("tissue", "d1", {"mask": np.zeros((4, 5), bool)}, {})
    (chunk,) = chunks_of(store, "tissue/d1")
    chunk.unlink()
    with pytest.raises(StoreError, match="array 'mask': 1 of 1 chunks are missing"):
        store.get("tissue", "d1")


def test_a_lost_or_broken_array_is_reported(store: SlideStore) -> None:
    store.put("tissue", "d1", {"mask": np.ones(3), "other": np.ones(3)}, {})
    shutil.rmtree(Path(store.url, "tissue/d1/other"))
    with pytest.raises(StoreError, match="array 'other' is missing"):
        store.get("tissue", "d1")
    Path(store.url, "tissue/d1/mask/zarr.json").write_text(json.dumps({"zarr_format": 3}))
    with pytest.raises(StoreError, match="damaged"):
        store.get("tissue", "d1")


@pytest.mark.parametrize(
    ("dtype", "fill"), [("float32", "nan"), ("int32", -(2**31)), ("uint8", 255), ("bool", False)]
)
def test_the_fill_value_is_no_plausible_value(store: SlideStore, dtype: str, fill: object) -> None:
    store.put("kind", "d1", {"a": np.ones(3, dtype)}, {})
    found = zarr.open_group(store.url, mode="r")["kind/d1/a"].fill_value  # type: ignore[union-attr]
    assert np.isnan(found) if fill == "nan" else found == fill


def test_an_empty_array_is_whole(store: SlideStore) -> None:
    store.put("embeddings", "d1", {"a": np.zeros((0, 5), np.float32)}, {})
    assert store.get("embeddings", "d1").arrays["a"].shape == (0, 5)


def put_all(url: str, value: float, start: "multiprocessing.synchronize.Barrier") -> None:
    store = SlideStore(url)
    start.wait(60)
    for number in range(20):
        store.put("tissue", f"d{number}", {"a": LARGE + value, "b": LARGE - value}, {"of": value})


def test_two_processes_that_write_one_artifact_leave_one_of_them_whole(store: SlideStore) -> None:
    """Worse than it ever is: what the two write differs here."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    writers = [
        context.Process(target=put_all, args=(store.url, value, start)) for value in (1.0, 2.0)
    ]
    for writer in writers:
        writer.start()
    start.wait(60)
    for number in range(20):
        # Read as soon as it is there: what is complete is never seen to change or to lack a part.
        while not store.has("tissue", f"d{number}"):
            assert any(writer.is_alive() for writer in writers) or store.has("tissue", f"d{number}")
        found = store.get("tissue", f"d{number}")
        assert (found.arrays["a"] == found.meta["of"]).all()
        assert (found.arrays["b"] == -found.meta["of"]).all()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert store.digests("tissue") == tuple(sorted(f"d{number}" for number in range(20)))
    assert not list(Path(store.url).glob(".unfinished*")), "nothing is left lying about"


def test_a_kind_that_another_process_makes_meanwhile_is_no_error(
    store: SlideStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    require = zarr.Group.require_group

    def too_late(group: zarr.Group, name: str) -> zarr.Group:
        require(group, name)
        raise ContainsGroupError(f"a group exists at {name}")

    monkeypatch.setattr(zarr.Group, "require_group", too_late)
    store.put("tissue", "d1", {"mask": np.ones(3)}, {})
    assert store.get("tissue", "d1").arrays["mask"].all()


def test_what_an_earlier_version_left_half_written_is_replaced(store: SlideStore) -> None:
    half = zarr.create_group(f"{store.url}/tissue/d1", zarr_format=3)
    half.create_array("mask", data=np.zeros(3))
    half.create_array("stray", data=np.zeros(3))
    store.put("tissue", "d1", {"mask": np.ones(3)}, {})
    assert set(store.get("tissue", "d1").arrays) == {"mask"}


def test_what_another_process_finished_first_stays(
    store: SlideStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    SlideStore(store.url).put("tissue", "d1", {"mask": np.ones(3)}, {})
    seen = iter([False, True])
    monkeypatch.setattr(store, "has", lambda *_: next(seen))
    store.put("tissue", "d1", {"mask": np.zeros(3)}, {})
    assert SlideStore(store.url).get("tissue", "d1").arrays["mask"].all()
    assert not list(Path(store.url).glob(".unfinished*"))


def ome_errors(group: zarr.Group) -> list[str]:
    """What NGFF 0.5 asks of an image, and of each array its dimension names, that lacks here."""
    errors = []
    ome = group.attrs["ome"]
    errors += [] if ome["version"] == "0.5" else ["version"]
    for scale in ome["multiscales"]:
        axes = scale["axes"]
        kinds = [axis["type"] for axis in axes]
        errors += [] if kinds == ["channel", "space", "space"] else ["axes"]
        for data in scale["datasets"]:
            array = group[data["path"]]
            names = list(array.metadata.dimension_names or ())
            errors += [] if names == [axis["name"] for axis in axes] else ["dimension_names"]
            first, *others = data["coordinateTransformations"]
            errors += [] if first["type"] == "scale" else ["scale first"]
            errors += [] if [o["type"] for o in others] in ([], ["translation"]) else ["others"]
            for transform in data["coordinateTransformations"]:
                if len(transform[transform["type"]]) != len(axes):
                    errors.append("length of a transformation")
    return errors


def test_heatmaps_are_ome_zarr_with_named_dimensions(store: SlideStore, tmp_path: Path) -> None:
    put_result(store, "job-1", example())
    place = f"{store.url}/{heatmap_path('job-1', 'probability')}"
    assert ome_errors(zarr.open_group(place, mode="r")) == []
    (tmp_path / "a.zip").write_bytes(heatmap_zip(example(), "probability", folder="a.ome.zarr"))
    zipfile.ZipFile(tmp_path / "a.zip").extractall(tmp_path)
    exported = zarr.open_group(str(tmp_path / "a.ome.zarr"), mode="r")
    assert ome_errors(exported) == []
    assert np.isnan(exported["0"].fill_value)  # type: ignore[union-attr]


def test_the_rules_find_what_ome_zarr_models_refuses(tmp_path: Path) -> None:
    group = zarr.create_group(str(tmp_path / "g"), zarr_format=3)
    from wsi.storage.result_store import ngff

    grid = example().grid
    assert grid is not None
    group.update_attributes({"ome": ngff(grid, "probability")})
    group.create_array("0", data=example().layers[0].values_chw)
    assert ome_errors(group) == ["dimension_names"]

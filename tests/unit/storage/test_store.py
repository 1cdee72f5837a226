"""SlideStore: whole artifacts or none, named by what made them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from wsi.errors import ArtifactMissingError, StoreError
from wsi.storage import SlideStore, spec_digest
from wsi.storage.store import remove_store


@pytest.fixture
def store(tmp_path: Path) -> SlideStore:
    return SlideStore(str(tmp_path / "slide.zarr"))


def test_an_artifact_is_read_back_as_it_was_written(store: SlideStore) -> None:
    mask = np.eye(5, dtype=bool)
    store.put("tissue", "d1", {"mask": mask}, {"threshold": 0.25})
    artifact = store.get("tissue", "d1")
    np.testing.assert_array_equal(artifact.arrays["mask"], mask)
    assert artifact.meta == {"threshold": 0.25}
    assert store.digests("tissue") == ("d1",)


def test_another_process_sees_it_too(store: SlideStore) -> None:
    store.put("tissue", "d1", {"mask": np.ones(3)}, {})
    assert SlideStore(store.url).has("tissue", "d1")


def test_what_is_not_there_is_said_to_be_missing(store: SlideStore) -> None:
    assert not store.has("tissue", "d1")
    assert store.digests("tissue") == ()
    with pytest.raises(ArtifactMissingError, match="tissue/d1"):
        store.get("tissue", "d1")


def test_an_unfinished_artifact_is_never_read_and_can_be_written_again(
    store: SlideStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = zarr.Group.create_array

    def full_disk(group: zarr.Group, name: str, **options: Any) -> Any:
        if name == "second":
            raise OSError(28, "No space left on device")
        return real(group, name, **options)

    monkeypatch.setattr(zarr.Group, "create_array", full_disk)
    arrays = {"first": np.ones(3), "second": np.ones(3)}
    with pytest.raises(StoreError, match="No space left"):
        store.put("tissue", "d1", arrays, {})
    assert not store.has("tissue", "d1")
    assert store.digests("tissue") == ()
    monkeypatch.undo()
    store.put("tissue", "d1", arrays, {})
    assert set(store.get("tissue", "d1").arrays) == {"first", "second"}


def test_a_complete_artifact_is_left_alone(store: SlideStore) -> None:
    store.put("tissue", "d1", {"mask": np.ones(3)}, {})
    store.put("tissue", "d1", {"mask": np.zeros(3)}, {})
    assert store.get("tissue", "d1").arrays["mask"].all()


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError):
        SlideStore(str(tmp_path / "file" / "slide.zarr"))


def test_the_digest_depends_on_every_value_and_not_on_their_order() -> None:
    assert spec_digest({"a": 1, "b": 2.5}) == spec_digest({"b": 2.5, "a": 1})
    assert spec_digest({"a": 1}) != spec_digest({"a": 2})
    with pytest.raises(ValueError, match="JSON compliant"):
        spec_digest({"a": float("nan")})


def test_reading_does_not_make_a_store(tmp_path: Path) -> None:
    url = str(tmp_path / "none.zarr")
    with pytest.raises(ArtifactMissingError, match="no slide store"):
        SlideStore(url, read_only=True)
    assert not Path(url).exists()


def test_a_removed_store_is_gone_and_may_be_removed_twice(store: SlideStore) -> None:
    store.put("tissue", "d1", {"mask": np.ones(3)}, {})
    remove_store(store.url)
    assert not Path(store.url).exists()
    remove_store(store.url)


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (
            type("EndpointError", (Exception,), {"__module__": "botocore.exceptions"})("away"),
            "away",
        ),
        (ImportError("Install s3fs to access S3"), r"wholeslide\[s3\]"),
        (PermissionError("Access Denied"), "Access Denied"),
    ],
)
def test_a_place_that_does_not_answer_is_an_error_of_the_store(
    error: Exception, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(zarr, "open_group", fail)
    with pytest.raises(StoreError, match=f"s3://bucket/a.zarr cannot be opened: .*{wanted}"):
        SlideStore("s3://bucket/a.zarr")


def test_a_mistake_of_ours_is_no_error_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(zarr, "open_group", fail)
    with pytest.raises(ZeroDivisionError):
        SlideStore("s3://bucket/a.zarr")

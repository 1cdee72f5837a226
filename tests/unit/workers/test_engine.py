"""``WSI_ENGINE`` reaches whatever loads the models."""

from pathlib import Path

import pytest

from workers.child import pipelines_of
from workers.loaded import loader_by_name
from workers.settings import Settings
from wsi.errors import ConfigError
from wsi.testing.models import untrained_patch_bundle

seen: list[tuple[str, str]] = []


def load(name: str, bundle: Path, device: str, engine: str = "torch") -> str:
    seen.append((name, engine))
    return name


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_the_engine_is_handed_to_the_loader(engine: str) -> None:
    seen.clear()
    loader_by_name(f"{__name__}:load", engine)("patch", Path("x"), "cpu")
    assert seen == [("patch", engine)]


def test_an_engine_that_does_not_exist_fails_the_first_job_with_the_names(tmp_path: Path) -> None:
    untrained_patch_bundle(tmp_path / "tiny")
    settings = Settings(models_dir=tmp_path, device="cpu", engine="tensorrt")
    with pytest.raises(ConfigError, match="not run on engine 'tensorrt'; use torch or compile"):
        pipelines_of(settings).get("patch", "tiny")

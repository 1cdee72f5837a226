"""What a pipeline is, and how one is found by name.

A pipeline is a module of ``wsi.pipelines`` that defines ``PIPELINE: type[Pipeline]``. Adding one
is adding a file.
"""

import importlib
import pkgutil
from pathlib import Path
from typing import Any, Protocol, Self

import wsi.pipelines
from wsi.errors import ConfigError
from wsi.models.runtime import tune_allocator
from wsi.progress import Progress
from wsi.slides import SlideReader
from wsi.storage import SlideResult, SlideStore
from wsi.tissue import QualityReport


class Pipeline(Protocol):
    """A loaded model that scores slides."""

    name: str

    @classmethod
    def load(cls, bundle: Path, device: str) -> Self:
        """Load a model bundle made for this pipeline onto ``device`` ("cpu", "cuda", "cuda:1").

        Raises:
            ModelError: the bundle is damaged or was made for another pipeline.
        """
        ...

    def analyze(self, slide: SlideReader, store: SlideStore, progress: Progress) -> SlideResult:
        """Score one slide. Intermediate artifacts (tissue, grid) are reused from ``store``.

        Raises:
            MppError: the slide states no usable resolution.
            DamagedSlideError: nothing of the slide could be read.
            AnalysisCancelledError: ``progress`` asked to stop.
        """
        ...


def pipeline_names() -> tuple[str, ...]:
    """Every pipeline's name, without importing any."""
    return tuple(
        module.name.replace("_", "-")
        for module in pkgutil.iter_modules(wsi.pipelines.__path__)
        if module.name != "base" and not module.name.startswith("_")
    )


def load_pipeline(name: str, bundle: Path, device: str = "cpu") -> Pipeline:
    """The pipeline of this name with this model.

    Raises:
        ConfigError: there is no such pipeline.
        ModelError: the bundle does not fit.
    """
    if name not in pipeline_names():
        raise ConfigError(f"no pipeline {name!r}; there are: {', '.join(pipeline_names())}")
    module = importlib.import_module(f"wsi.pipelines.{name.replace('-', '_')}")
    kind: type[Pipeline] = module.PIPELINE
    tune_allocator()
    return kind.load(bundle, device)


def describe_quality(quality: QualityReport) -> dict[str, Any]:
    """What a result says of the slide's quality: shares of the tissue, and whether it is poor."""
    return {
        "flagged": quality.flagged,
        "usable_share": quality.usable_share,
        "shares": dict(quality.shares),
    }


def quality_warnings(quality: QualityReport) -> tuple[str, ...]:
    """A sentence for each way in which the slide is too poor to be trusted."""
    return tuple(f"poor slide quality: {reason}" for reason in quality.reasons)

"""What a pipeline is, and how one is found by name.

A pipeline is a class with the methods of ``Pipeline``, listed in ``wsi.pipelines.PIPELINES``.
Another package adds one by an entry point of the group ``wholeslide.pipelines``: the pipeline's
name, and ``module:Class``.
"""

from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from wsi.errors import ConfigError
from wsi.heap import tune_heap
from wsi.malignancy import why_no_suspicion
from wsi.models.aggregators import slide_classes
from wsi.models.card import ModelCard
from wsi.pipelines import PIPELINES
from wsi.progress import Progress
from wsi.slides import SlideReader
from wsi.slides.identity import slide_digest
from wsi.storage import SlideResult, SlideStore
from wsi.streaming.api import Measured
from wsi.tissue import QualityReport, TissueMask
from wsi.tissue.mask import METHOD_VERSION

ENTRY_POINTS = "wholeslide.pipelines"


class Pipeline(Protocol):
    """A loaded model that scores slides.

    Attributes:
        name: under which it is found.
        engines: of ``wsi.models.engines.ENGINES``, those that ``load`` takes. A pipeline of another
            package may leave it out: it then runs on torch alone, and its ``load`` is called
            without an engine.
    """

    name: str
    engines: ClassVar[tuple[str, ...]]

    @classmethod
    def load(cls, bundle: Path, device: str, engine: str = "torch") -> Self:
        """Load a model bundle made for this pipeline onto ``device`` ("cpu", "cuda", "cuda:1").

        Args:
            bundle: folder of the model.
            device: where torch runs.
            engine: one of ``engines``.

        Raises:
            ModelError: the bundle is damaged or was made for another pipeline.
        """
        ...

    def analyze(self, slide: SlideReader, store: SlideStore, progress: Progress) -> SlideResult:
        """Score one slide. Intermediate artifacts (tissue, grid) are reused from ``store``.

        Raises:
            MppError: the slide states no usable resolution, or is too coarse for the model.
            DamagedSlideError: nothing of the slide could be read.
            AnalysisCancelledError: ``progress`` asked to stop.
        """
        ...


def pipeline_names() -> tuple[str, ...]:
    """Every pipeline's name, without importing any."""
    return (*PIPELINES, *sorted(_installed().keys() - set(PIPELINES)))


def _installed() -> dict[str, EntryPoint]:
    """Pipelines of other packages."""
    return {found.name: found for found in entry_points(group=ENTRY_POINTS)}


def _kind_of(name: str) -> type[Pipeline]:
    if name in PIPELINES:
        own: type[Pipeline] = EntryPoint(name, PIPELINES[name], ENTRY_POINTS).load()
        return own
    found = _installed().get(name)
    if found is None:
        raise ConfigError(f"no pipeline {name!r}; choose from: {', '.join(pipeline_names())}")
    try:
        kind: type[Pipeline] = found.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"pipeline {name!r} cannot be loaded from {found.value}: {error}"
        ) from error
    return kind


def load_pipeline(name: str, bundle: Path, device: str = "cpu", engine: str = "torch") -> Pipeline:
    """The pipeline of this name with this model.

    Args:
        name: of the pipeline.
        bundle: folder of the model.
        device: where torch runs.
        engine: one of the pipeline's ``engines``.

    Raises:
        ConfigError: there is no such pipeline, another package's cannot be imported, or it does not
            run on this engine.
        ModelError: the bundle does not fit.
    """
    kind = _kind_of(name)
    tune_heap()
    if engine == "torch":
        return kind.load(bundle, device)
    engines = getattr(kind, "engines", ("torch",))
    if engine not in engines:
        raise ConfigError(
            f"pipeline {name!r} does not run on engine {engine!r}; use {' or '.join(engines)}"
        )
    return kind.load(bundle, device, engine)


def of_slide(result: SlideResult, slide: SlideReader) -> SlideResult:
    """The result with the slide's digest, which a pipeline of another package may not state."""
    digest = slide_digest(slide)
    return result if result.slide_digest == digest else replace(result, slide_digest=digest)


def describe_quality(quality: QualityReport) -> dict[str, Any]:
    """What a result says of the slide's quality: shares of the tissue, and whether it is poor."""
    return {
        "flagged": quality.flagged,
        "usable_share": quality.usable_share,
        "shares": dict(quality.shares),
    }


def describe_slide(slide: SlideReader) -> dict[str, Any]:
    """At which resolution a slide was analyzed, who said so, and how its tissue was looked for."""
    if slide.mpp is None:
        return {}
    known = slide.resolution
    return {
        "slide_mpp": [slide.mpp.x, slide.mpp.y],
        "stated_mpp": [known.stated.x, known.stated.y] if known.stated else None,
        "given_mpp": known.given,
        "tissue_version": METHOD_VERSION,
    }


def describe_memory(measured: Measured) -> dict[str, int]:
    """What a result says of its memory: peaks of the process's life, and of this slide on a GPU."""
    told = {"peak_host_bytes": measured.peak_host_bytes}
    if measured.peak_device_bytes:
        told["peak_device_bytes"] = measured.peak_device_bytes
    return told


def unscored(slide: SlideReader, tissue: TissueMask, too_little: str = "") -> dict[str, Any]:
    """Outcome, probabilities and warnings of a slide on which there is nothing to score.

    Args:
        slide, tissue: the slide, whose own warnings come first, and its tissue.
        too_little: why tissue that was found cannot be scored, as a sentence.
    """
    unclear = tissue.unclear or not tissue.is_empty
    reasons = [*tissue.warnings, *([too_little] if not tissue.is_empty else [])]
    if unclear:
        reasons[:1] = [f"nothing was scored: {reasons[0]}"]
    else:
        reasons.insert(0, "no tissue was found on this slide: nothing was scored")
    return {
        "probabilities": {},
        "outcome": "tissue_unclear" if unclear else "no_tissue",
        "details": describe_slide(slide),
        "warnings": (*slide.warnings, *reasons),
    }


def describe_result(name: str, card: ModelCard, slide: SlideReader) -> dict[str, Any]:
    """The fields of a ``SlideResult`` that say which slide it is of, and of which model.

    Args:
        name: of the pipeline.
        card: of its model.
        slide: that was analyzed.
    """
    return {
        "slide": slide.name,
        "slide_digest": slide_digest(slide),
        "pipeline": name,
        "model": card.name,
        "model_digest": card.weights_sha256,
        "classes": card.classes,
        "malignant": card.malignant_classes,
    }


def quality_warnings(quality: QualityReport) -> tuple[str, ...]:
    """A sentence for each way in which the slide is too poor to be trusted."""
    return tuple(f"poor slide quality: {reason}" for reason in quality.reasons)


def malignancy_warnings(card: ModelCard) -> tuple[str, ...]:
    """A sentence where the model cannot say how suspicious a slide is."""
    reason = why_no_suspicion(slide_classes(card.classes), card.malignant_classes)
    return () if reason is None else (reason,)

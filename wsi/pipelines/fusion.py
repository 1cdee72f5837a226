"""The fusion pipeline: the patch and the whole-slide pipeline on one slide, combined."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from wsi.errors import ModelError
from wsi.models.bundle import load_bundle
from wsi.models.card import ModelCard
from wsi.models.stacking import Stacking
from wsi.pipelines.base import describe_result, describe_slide, malignancy_warnings
from wsi.pipelines.members import Member, load_member
from wsi.progress import Progress, no_progress
from wsi.slides import SlideReader
from wsi.storage import HeatmapGrid, HeatmapLayer, SlideResult, SlideStore
from wsi.streaming.meter import peak_host_bytes

_NAMED = ("pipeline", "model", "digest")


class FusionPipeline:
    """Combines its members' class probabilities by stacked logistic regression. Made by ``load``.

    The first member, the patch pipeline, gives the heatmap grid and the hotspots. Layers are all
    members' layers, named ``MEMBER-KIND``: a fused map would claim a calibration that was only
    ever fitted for slides.
    """

    name = "fusion"
    engines = ("torch", "compile", "openvino")

    def __init__(self, card: ModelCard, stacking: Stacking, members: Sequence[Member]) -> None:
        self.card = card
        self._stacking = stacking
        self._members = tuple(members)

    @classmethod
    def load(cls, bundle: Path, device: str, engine: str = "torch") -> Self:
        card, state = load_bundle(bundle)
        if card.pipeline != cls.name:
            raise ModelError(f"{bundle}: a model of pipeline {card.pipeline}, not {cls.name}")
        stacking, named = unpack_fusion(card, state)
        members = [
            load_member(bundle.parent, **one, device=device, engine=engine, wanted_by=str(bundle))
            for one in named
        ]
        return cls(card, stacking, members)

    def analyze(
        self, slide: SlideReader, store: SlideStore, progress: Progress = no_progress
    ) -> SlideResult:
        """Score one slide; see ``Pipeline.analyze``.

        A member's result that is in the store is used; a new one is stored next to the fusion's, so
        that an analysis that was stopped continues with the member that is missing.
        ``timings_s`` are the members' as they were measured, whenever that was.
        """
        found = [member.result(slide, store, progress) for member in self._members]
        started = perf_counter()
        results = [result for result, _ in found]
        names = [member.name for member in self._members]
        timings = {
            f"{name}: {stage}": seconds
            for name, result in zip(names, results, strict=True)
            for stage, seconds in result.timings_s.items()
        }
        of_members = (w for result in results for w in result.warnings)
        own = malignancy_warnings(self.card)
        warnings = tuple(dict.fromkeys((*slide.warnings, *of_members, *own)))
        details: dict[str, Any] = {
            "members": {
                name: {
                    "model": result.model,
                    "model_digest": result.model_digest,
                    "probabilities": dict(result.probabilities),
                    "from_store": kept,
                }
                for name, (result, kept) in zip(names, found, strict=True)
            },
            "peak_host_bytes": peak_host_bytes(),
            **describe_slide(slide),
        }
        identity: dict[str, Any] = {
            **describe_result(self.name, self.card, slide),
            "details": details,
        }
        empty = [name for name, one in zip(names, results, strict=True) if one.outcome != "scored"]
        if empty:
            blank = all(one.outcome == "no_tissue" for one in results)
            reason = f"not combined: {' and '.join(empty)} found no tissue to score on this slide"
            return SlideResult(
                **identity,
                probabilities={},
                # Members that disagree are as unclear as one that is not sure.
                outcome="no_tissue" if blank else "tissue_unclear",
                timings_s=timings,
                warnings=(*warnings, reason),
            )
        first = results[0]
        assert first.grid is not None
        layers = self._layers(results, first.grid)
        details |= {k: first.details[k] for k in ("tissue_share", "quality") if k in first.details}
        probabilities = self._probabilities(results)
        return SlideResult(
            **identity,
            probabilities=probabilities,
            grid=first.grid,
            layers=layers,
            hotspots=first.hotspots,
            hotspot_total=first.hotspot_total,
            hotspot_area_um2=first.hotspot_area_um2,
            hotspot_threshold=first.hotspot_threshold,
            damaged=tuple(dict.fromkeys(place for result in results for place in result.damaged)),
            timings_s={**timings, "fusion": perf_counter() - started},
            warnings=warnings,
        )

    def _probabilities(self, results: Sequence[SlideResult]) -> dict[str, float]:
        classes = self.card.classes
        members = [
            np.array([[result.probabilities[name] for name in classes]]) for result in results
        ]
        values = self._stacking.probabilities_nk(members)[0]
        return dict(zip(classes, values.tolist(), strict=True))

    def _layers(
        self, results: Sequence[SlideResult], grid: HeatmapGrid
    ) -> tuple[HeatmapLayer, ...]:
        """Every layer of every member, on one grid and with the slide classes alone."""
        layers = []
        for member, result in zip(self._members, results, strict=True):
            assert result.grid is not None
            rows = [result.classes.index(name) for name in self.card.classes]
            layers += [
                HeatmapLayer(
                    kind=f"{member.name}-{layer.kind}",
                    values_chw=on_grid(layer.values_chw[rows], result.grid, grid),
                )
                for layer in result.layers
            ]
        return tuple(layers)


def on_grid(
    values_chw: NDArray[np.float32], given: HeatmapGrid, wanted: HeatmapGrid
) -> NDArray[np.float32]:
    """A map on another grid: the value under each cell's centre, NaN where there is none."""
    if given == wanted:
        return values_chw
    rows, columns = (
        np.floor((start + (np.arange(count) + 0.5) * step - given_start) / given_step).astype(
            np.int64
        )
        for start, step, count, given_start, given_step in (
            (
                wanted.origin_level0.y,
                wanted.cell_level0[1],
                wanted.shape[0],
                given.origin_level0.y,
                given.cell_level0[1],
            ),
            (
                wanted.origin_level0.x,
                wanted.cell_level0[0],
                wanted.shape[1],
                given.origin_level0.x,
                given.cell_level0[0],
            ),
        )
    )
    inside_hw = ((rows >= 0) & (rows < given.shape[0]))[:, None] & (
        (columns >= 0) & (columns < given.shape[1])
    )[None, :]
    taken = values_chw[
        :,
        rows.clip(0, given.shape[0] - 1)[:, None],
        columns.clip(0, given.shape[1] - 1)[None, :],
    ]
    return np.where(inside_hw, taken, np.float32(np.nan))


def unpack_fusion(
    card: ModelCard, state: Mapping[str, torch.Tensor]
) -> tuple[Stacking, list[dict[str, str]]]:
    """What a fusion's bundle holds: the combination, and pipeline, model and digest of each member.

    Raises:
        ModelError: card and weights do not fit.
    """
    try:
        stacking = Stacking(state["weights"].numpy(), state["bias"].numpy())
        digests = [bytes(line).hex() for line in state["members"].numpy()]
        named = [{key: str(one[key]) for key in _NAMED} for one in card.settings["members"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{card.name}: not a valid fusion model: {error!r}") from error
    if digests != [one["digest"] for one in named]:
        raise ModelError(f"{card.name}: card and weights name different members")
    if len(stacking.bias_k) != len(card.classes) or stacking.models != len(named):
        raise ModelError(f"{card.name}: its weights do not fit its classes or its members")
    return stacking, named

"""The pipelines inside a fusion: one slide's result of each, made once. No pipeline of its own."""

from dataclasses import dataclass
from pathlib import Path

from wsi.errors import ModelError
from wsi.models.card import CARD_FILE, read_card
from wsi.pipelines.base import Pipeline, load_pipeline, of_slide
from wsi.progress import Progress
from wsi.slides import SlideReader
from wsi.slides.identity import require_unchanged, slide_digest
from wsi.storage import SlideResult, SlideStore, analysis_id, find_result, put_result


@dataclass(frozen=True)
class Member:
    """A loaded pipeline and the digest of its model."""

    pipeline: Pipeline
    digest: str

    @property
    def name(self) -> str:
        """Of the pipeline."""
        return self.pipeline.name

    def result(
        self, slide: SlideReader, store: SlideStore, progress: Progress
    ) -> tuple[SlideResult, bool]:
        """The slide's result, and whether it was in the store already; a new one is put there.

        Raises:
            SlideError, AnalysisCancelledError, StoreError: as ``Pipeline.analyze``.
        """
        kept = find_result(store, slide, slide_digest(slide), self.name, self.digest)
        if kept is not None:
            return kept, True

        def tell(stage: str, share: float) -> None:
            progress(f"{self.name}: {stage}", share)

        result = of_slide(self.pipeline.analyze(slide, store, tell), slide)
        require_unchanged(slide)
        put_result(store, analysis_id(slide, result), result)
        return result, False


def load_member(
    folder: Path,
    *,
    pipeline: str,
    model: str,
    digest: str,
    device: str,
    wanted_by: str,
    engine: str = "torch",
) -> Member:
    """The bundle with this digest among those in a folder, loaded.

    Args:
        folder: of model bundles.
        model: its name when the fusion was made; one of another name but this digest will do.
        device, engine: as for ``load_pipeline``.
        wanted_by: for the message.

    Raises:
        ModelError: there is none.
    """
    others = sorted(path.parent for path in folder.glob(f"*/{CARD_FILE}"))
    for bundle in (folder / model, *others):
        if _digest_of(bundle) == digest:
            return Member(load_pipeline(pipeline, bundle, device, engine), digest)
    raise ModelError(
        f"{wanted_by}: it combines the {pipeline} model {model!r}, digest {digest[:12]}..., and no "
        f"bundle in {folder} has that digest; put the bundle there, or train the fusion again"
    )


def _digest_of(bundle: Path) -> str | None:
    try:
        return read_card(bundle).weights_sha256
    except ModelError:
        # Missing, or a damaged neighbour: not the one that is looked for.
        return None

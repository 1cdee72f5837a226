"""Bundles of the real pipelines, with small untrained networks."""

from pathlib import Path

from wsi.testing.models import untrained_patch_bundle, untrained_whole_slide_bundle


def install(models_dir: Path) -> None:
    """One model for each pipeline."""
    models_dir.mkdir(parents=True, exist_ok=True)
    untrained_patch_bundle(models_dir / "patch-tiny")
    untrained_whole_slide_bundle(models_dir / "whole-slide-tiny")

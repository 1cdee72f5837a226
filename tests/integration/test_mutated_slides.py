"""Damaged slide files through the real API: refused or shown, never a crash.

``WSI_MUTANTS`` says how many in the long form; ``benchmarks/mutated_slides.py`` sends 2,000 and
writes them down.
"""

import os
from pathlib import Path

import pytest

from tests.conftest import data_dir
from tests.integration.deployment import add_toy, deployment
from tests.integration.mutated_slides import run, small_sources
from wsi.testing.mutations import mutants

MUTANTS = int(os.environ.get("WSI_MUTANTS", "300"))


@pytest.mark.parametrize("count", [24, pytest.param(MUTANTS, marks=pytest.mark.long)])
def test_damaged_slides_are_refused_or_shown_and_crash_nobody(tmp_path: Path, count: int) -> None:
    real = data_dir()
    sources = small_sources(tmp_path / "sources", real / "wsi" / "edge" if real else None)
    with deployment(tmp_path / "data") as place:
        add_toy(place)
        api, client = place.start_api(WSI_CHECK_TIMEOUT_S="20", WSI_CHECK_MEMORY_BYTES=str(2 << 30))
        outcomes = run(place, client, sources, count)
        assert outcomes.wrong == []
        assert api.poll() is None
        assert client.get("ready").status_code == 200
        assert outcomes.counts.total() == count
        answers = {answer for _, answer in outcomes.counts}
        assert {"accepted", "damaged"} <= answers, "the damage is all of one kind"
        assert list((place.folder / "incoming").iterdir()) == []
        listed = client.get("slides", params={"limit": 1}).json()["total"]
        assert len(list((place.folder / "slides").iterdir())) == listed
        assert outcomes.api_mib < 600
        assert outcomes.worker_mib < 1500


def test_mutants_are_the_same_at_every_run_and_never_the_original(tmp_path: Path) -> None:
    sources = small_sources(tmp_path)[:2]
    one, two = (list(mutants(sources, 48, seed=3)) for _ in range(2))
    assert one == two
    originals = {path.read_bytes() for path in sources}
    assert sum(mutant.data in originals for mutant in one) <= 4
    assert len({mutant.kind for mutant in one}) == 12

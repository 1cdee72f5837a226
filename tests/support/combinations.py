"""Every combination in ``make test-long``, a few that cover each value in ``make test``."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest


def combinations(*axes: Sequence[Any], quick: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Parameters for ``pytest.mark.parametrize``: those that are not ``quick`` are marked long."""
    everything = list(itertools.product(*axes))
    for axis, used in zip(axes, zip(*quick, strict=True), strict=True):
        assert set(axis) == set(used), "a value that no quick combination covers, or an unknown one"
    assert set(quick) <= set(everything)
    return [
        pytest.param(*values, marks=() if values in quick else pytest.mark.long)
        for values in everything
    ]

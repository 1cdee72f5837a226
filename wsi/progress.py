"""How long work tells its caller how far it is."""

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called with the stage's name and the share of it that is done, in [0, 1].

May raise ``AnalysisCancelledError`` to stop the work at a safe place.
"""


def no_progress(stage: str, share: float) -> None:
    """A Progress that tells nobody."""

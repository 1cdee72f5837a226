"""wholeslide: whole-slide pathology cancer detection.

The names of a notebook are here, and load what they need when they are first used::

    import wsi

    with wsi.open_slide("slide.svs") as slide:
        result = wsi.analyze(slide, "models/mine")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsi.api import analyze, plan
    from wsi.pipelines.base import load_pipeline
    from wsi.slides import open_slide

    __version__: str

__all__ = ["__version__", "analyze", "load_pipeline", "open_slide", "plan"]

_HOMES = {
    "analyze": "wsi.api",
    "load_pipeline": "wsi.pipelines.base",
    "open_slide": "wsi.slides",
    "plan": "wsi.api",
}


def __getattr__(name: str) -> Any:
    """Loads a public name at its first use (PEP 562), so that ``import wsi`` loads no library."""
    if name == "__version__":
        from importlib.metadata import version

        found: Any = version("wholeslide")
    elif name in _HOMES:
        found = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Which classes of a model are malignant, and how suspicious a slide is. Free of numpy and torch.

The model card says it (``ModelCard.malignant``). Names are a fallback for cards written before it
did; a name that says nothing leaves the suspicion unknown, never the probability of a wrong class.
"""

import re
from collections.abc import Mapping, Sequence

from wsi.errors import ConfigError

ALL_MALIGNANT = "all-malignant"
"""Name of the map that adds up the malignant classes, where a model has several."""

_WORD = (
    r"cancer|tumou?r|malign\w*|neoplastic|carcino\w*|karzinom|krebs|sarcom\w*|melanom\w*"
    r"|lymphom\w*|metasta\w*|gliom\w*|glioblastom\w*|\w*blastom\w*|leuk[a]?emi\w*|mesotheliom\w*"
    r"|myelom\w*|seminom\w*|gleason"
)
_SHORT = r"dcis|lcis|idc|ilc|tum|luad|lusc|nsclc|sclc|hcc|rcc|scc|bcc|gbm|invasive|in situ"
_NAMED = re.compile(rf"({_WORD})|\b({_SHORT})\b")
# The whole name speaks of something else, or of what lies beside a tumour.
_OTHER = re.compile(
    r"^(no|not|without|normal|benign|healthy|negative|free|absence|absent)\b"
    r"|\b(negative|adjacent|stroma|lymphocytes?|tils?|necrosis|necrotic|bed|margin|associated)\b"
    r"|peri\w*tumou?r|\bfree$"
)
# The word itself is denied: "non-cancer", "benign tumour", "premalignant", "tumour-free". But
# "non-small cell carcinoma" and "non-invasive carcinoma" are cancers.
_DENIED = re.compile(
    rf"\b(non|no|not|un|pre|anti|benign) ?({_WORD})|({_WORD}) ?(free|negative|absent)\b"
)


def malignant_by_name(classes: Sequence[str]) -> tuple[str, ...]:
    """The classes whose names speak of cancer, the last (taken for the most severe) first.

    >>> malignant_by_name(["normal", "ductal carcinoma in situ", "invasive carcinoma"])
    ('invasive carcinoma', 'ductal carcinoma in situ')
    >>> malignant_by_name(["non-cancer", "stroma", "benign tumour"])
    ()
    """
    return tuple(name for name in reversed(classes) if _speaks_of_cancer(name))


def _speaks_of_cancer(name: str) -> bool:
    # Underscores and hyphens are part of words to a regular expression, or not at all.
    text = re.sub(r"[\s_-]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).strip().lower()
    if _OTHER.search(text):
        return False
    return _NAMED.search(_DENIED.sub(" ", text)) is not None


def malignant_classes(
    classes: Sequence[str], stated: Sequence[str] | None = None
) -> tuple[str, ...]:
    """The malignant classes, most severe first; empty where none is known.

    Args:
        classes: of the model.
        stated: what the model card says; ``None`` falls back to the names.
    """
    return malignant_by_name(classes) if stated is None else tuple(stated)


def check_malignant(classes: Sequence[str], stated: Sequence[str] | None) -> None:
    """Raises ``ConfigError`` where ``stated`` names a class twice, or one that there is not."""
    names = list(stated or ())
    strange = [name for name in names if name not in classes]
    if strange:
        raise ConfigError(
            f"malignant class {strange[0]!r} is not one of the classes: {', '.join(classes)}"
        )
    if len(set(names)) < len(names):
        raise ConfigError(f"malignant classes: one is listed twice: {', '.join(names)}")


def suspicion(probabilities: Mapping[str, float], malignant: Sequence[str]) -> float | None:
    """Probability that a slide is malignant: the sum over the malignant classes, in [0, 1].

    ``None`` where it is unknown: without probabilities, without a malignant class among them, or
    where all of them are malignant, for then the model knows no slide that is not.
    """
    known = [value for name, value in probabilities.items() if name in malignant]
    if not known or len(known) == len(probabilities):
        return None
    return min(1.0, max(0.0, float(sum(known))))


def why_no_suspicion(classes: Sequence[str], malignant: Sequence[str]) -> str | None:
    """What a reader is told where a model cannot say how suspicious a slide is.

    Args:
        classes: that a slide can have.
        malignant: those that are malignant.
    """
    if not malignant:
        return (
            f"it is not known which of the classes {', '.join(classes)} are malignant, so no "
            "suspicion is given; name them in the model card"
        )
    if set(classes) <= set(malignant):
        return f"no suspicion is given: all classes are malignant ({', '.join(classes)})"
    return None


def probability_text(value: float, digits: int = 3) -> str:
    """A probability that claims no certainty: "0.873", "> 0.999", "< 0.001"."""
    step = 10.0**-digits
    if value > 1 - step:
        return f"> {1 - step:.{digits}f}"
    if value < step:
        return f"< {step:.{digits}f}"
    return f"{value:.{digits}f}"

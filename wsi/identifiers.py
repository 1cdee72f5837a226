"""Who a patient is, however the identifier was written.

One rule, for every table. **The same patient** are identifiers that are equal after Unicode
compatibility normalization (NFKC), with spaces of any kind made plain, those at the ends and
invisible characters taken away, dashes of any kind made ``-``, and a whole number that a program
wrote as a fraction (``12.0``, ``12,0``) made whole. **Refused as look-alikes** are identifiers that
then still differ, but only in upper and lower case, in leading zeros, or in what stands between
letters and digits (``P01``, ``p1``, ``P-1``): whether they are one patient, only a person can say.
**Named in a warning** are those that share a number of six digits or more and differ in letters or
short numbers alone (``GT2012468``, ``GTXC2012468-2``): often one case under two prefixes, or its
slides. What a spreadsheet shortened (``2.01247E+11``) names nobody and is refused.
"""

import re
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from wsi.errors import DatasetError

_INVISIBLE = re.compile("[\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\u00ad]")
_DASHES = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_WHOLE = re.compile(r"(\d+)(?:\.0+|,0)")
_SHORTENED = re.compile(r"\d(?:[.,]\d+)?[eE]\+\d+")
_TOKEN = re.compile(r"[^\W\d_]+|\d+")
_LONG = 6
_SHOWN = 3
NOT_GIVEN = frozenset({"", "na", "n/a", "nan", "none", "null", "unknown", "?", "-", "#n/a", "<na>"})
"""What tables write, in small letters, where a cell has no value."""


class DatasetWarning(UserWarning):
    """Something in a table that is probably a mistake, and that only a person can judge."""


def normal_identifier(text: str) -> str:
    """An identifier as every table of the product has it; see the module."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    text = " ".join(_DASHES.sub("-", text).split())
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def identifiers_of(
    lines: Sequence[Mapping[str, str]], column: str, source: str, *, first_line: int = 2
) -> list[str] | None:
    """A column of identifiers, normalized; ``None`` where no cell has a value.

    Args:
        lines: of a table that has the column.
        column: its name.
        source: of the table, for messages.
        first_line: number of the first of ``lines``.

    Raises:
        DatasetError: some cells have a value and others do not, or two identifiers look alike.
    """
    found = [normal_identifier(line[column]) for line in lines]
    empty = [at for at, name in enumerate(found) if name.casefold() in NOT_GIVEN]
    if len(empty) == len(found):
        return None
    if empty:
        raise DatasetError(
            f"{source}, line {empty[0] + first_line}: {column} is empty, while other lines have "
            f"one ({len(empty)} of {len(found)} lines are empty); fill it in or leave those "
            "lines out"
        )
    if cut := next((name for name in found if _SHORTENED.fullmatch(name)), None):
        raise DatasetError(
            f"{source}: {column} {cut!r} is a number that a spreadsheet shortened: several may be "
            "written alike; format the column as text, and fill it in again"
        )
    require_distinct(found, column, source)
    return found


def require_distinct(names: Iterable[str], what: str, source: str, *, most: int = _SHOWN) -> None:
    """Refuse identifiers that look alike, and warn of those that share a long number.

    Args:
        names: normalized.
        what: they name, for messages.
        source: of them, for messages.
        most: so many are told by name, the rest is counted.

    Raises:
        DatasetError: names the look-alikes.
    """
    known = sorted(set(names))
    alike = _groups(known, spelling_of)
    if alike:
        raise DatasetError(
            f"{source}: {_told(alike, most)} look like one {what} written in several ways; write "
            f"each {what} in one way, or give different ones names that differ in more than case, "
            "zeros and separators"
        )
    numbered = _groups(known, _long_number)
    if numbered:
        warnings.warn(
            f"{source}: {_told(numbered, most)} share a number: is this one {what}? "
            f"Then write it in one way, or the {what} would be trained and evaluated on at once",
            DatasetWarning,
            stacklevel=2,
        )


def _groups(names: Sequence[str], key: Callable[[str], Hashable | None]) -> list[list[str]]:
    found: dict[Hashable, list[str]] = defaultdict(list)
    for name in names:
        if (of := key(name)) is not None:
            found[of].append(name)
    return [group for group in found.values() if len(group) > 1]


def _told(groups: Sequence[Sequence[str]], most: int) -> str:
    told = "; ".join(" and ".join(repr(name) for name in group) for group in groups[:most])
    return told + (f" (and {len(groups) - most} more such)" if len(groups) > most else "")


def spelling_of(name: str) -> tuple[str, ...] | None:
    """Letters and digits in their order, without case, leading zeros and separators."""
    tokens = _TOKEN.findall(name.casefold())
    return tuple(t.lstrip("0") or "0" if t.isdigit() else t for t in tokens) or None


def _long_number(name: str) -> Hashable | None:
    """The digits of the one long number in an identifier, else ``None``."""
    digits = [token.lstrip("0") for token in _TOKEN.findall(name) if token.isdigit()]
    long = [number for number in digits if len(number) >= _LONG]
    return long[0] if len(long) == 1 else None

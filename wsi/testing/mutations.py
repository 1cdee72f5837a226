"""Slide files that are wrong in a thousand ways, each the same at every run."""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["Mutant", "mutants"]

_MAX_TAGS = 4096
_WORDS: Mapping[int, str] = {1: "B", 2: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
"""TIFF field types that hold whole numbers, as ``struct`` writes them."""

# Sizes, compression, photometric, offsets, rows a strip, counts, samples, tile sizes and places,
# JPEG tables, sub-images: what a reader computes addresses and buffers from.
_DANGEROUS = (256, 257, 258, 259, 262, 270, 273, 277, 278, 279, 284, 322, 323, 324, 325, 330, 347)
_VALUES = (0, 1, 2, 3, 7, 15, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63)


@dataclass(frozen=True)
class Mutant:
    """A damaged copy of a file.

    Attributes:
        name: what was done to which file, with its number.
        kind: what was done.
        data: its bytes.
    """

    name: str
    kind: str
    data: bytes


@dataclass(frozen=True)
class _Entry:
    """Where an entry of a TIFF directory lies, and how its fields are written."""

    at: int
    tag: int
    kind: int
    big: bool
    order: str

    @property
    def value_at(self) -> int:
        return self.at + (12 if self.big else 8)


def mutants(sources: Sequence[Path], count: int, seed: int = 0) -> Iterator[Mutant]:
    """``count`` damaged copies of these files, all kinds of damage in turn."""
    contents = [(path.suffix, path.read_bytes()) for path in sources]
    kinds = list(_KINDS.items())
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        kind, change = kinds[number % len(kinds)]
        suffix, data = contents[int(rng.integers(len(contents)))]
        changed = bytearray(data)
        change(changed, rng)
        yield Mutant(f"{number:05d} {kind}{suffix}", kind, bytes(changed))


def _flip_bits(data: bytearray, rng: np.random.Generator) -> None:
    for at in rng.integers(len(data), size=int(rng.integers(1, 64))):
        data[at] ^= 1 << int(rng.integers(8))


def _flip_head(data: bytearray, rng: np.random.Generator) -> None:
    for at in rng.integers(min(len(data), 512), size=int(rng.integers(1, 8))):
        data[at] ^= 1 << int(rng.integers(8))


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(len(data))) :]


def _cut_middle(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    del data[start : start + int(rng.integers(1, 1024))]


def _overwrite(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    length = min(int(rng.integers(1, 2048)), len(data) - start)
    fill = (b"\0" * length, b"\xff" * length, rng.bytes(length))[int(rng.integers(3))]
    data[start : start + length] = fill


def _grow(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    data[start:start] = rng.bytes(int(rng.integers(1, 1024)))


def _tag_value(data: bytearray, rng: np.random.Generator) -> None:
    _write_value(data, _pick(data, rng), int(rng.choice(np.array(_VALUES, np.uint64))))


def _tag_nudged(data: bytearray, rng: np.random.Generator) -> None:
    entry = _pick(data, rng)
    if entry is None or entry.value_at + 4 > len(data):
        return
    (value,) = struct.unpack_from(entry.order + "I", data, entry.value_at)
    _write_value(data, entry, max(0, value + int(rng.integers(-40, 40))))


def _tag_count(data: bytearray, rng: np.random.Generator) -> None:
    entry = _pick(data, rng)
    if entry is not None:
        _put(data, entry, "Q" if entry.big else "I", entry.at + 4, int(rng.choice(_VALUES[:12])))


def _tag_type(data: bytearray, rng: np.random.Generator) -> None:
    entry = _pick(data, rng)
    if entry is not None:
        _put(data, entry, "H", entry.at + 2, int(rng.integers(0, 20)))


def _tag_number(data: bytearray, rng: np.random.Generator) -> None:
    entry = _pick(data, rng)
    if entry is not None:
        _put(data, entry, "H", entry.at, int(rng.choice(_DANGEROUS)))


def _next_directory(data: bytearray, rng: np.random.Generator) -> None:
    """Directories that lead in circles, or out of the file."""
    entries = list(_entries(data))
    if not entries:
        return
    last = entries[int(rng.integers(len(entries)))]
    target = int(rng.choice([e.at for e in entries] + [8, 16, len(data) - 1, 2**31]))
    step = 20 if last.big else 12
    _put(data, last, "Q" if last.big else "I", last.at + step, target)


_KINDS: Mapping[str, Callable[[bytearray, np.random.Generator], None]] = {
    "bits flipped": _flip_bits,
    "head flipped": _flip_head,
    "cut": _cut,
    "middle cut out": _cut_middle,
    "overwritten": _overwrite,
    "grown": _grow,
    "tag value": _tag_value,
    "tag nudged": _tag_nudged,
    "tag count": _tag_count,
    "tag type": _tag_type,
    "tag exchanged": _tag_number,
    "directories linked": _next_directory,
}


def _pick(data: bytearray, rng: np.random.Generator) -> _Entry | None:
    """An entry, mostly one that sizes and places depend on."""
    entries = list(_entries(data))
    dangerous = [entry for entry in entries if entry.tag in _DANGEROUS]
    chosen = dangerous if dangerous and rng.random() < 0.85 else entries
    return chosen[int(rng.integers(len(chosen)))] if chosen else None


def _write_value(data: bytearray, entry: _Entry | None, value: int) -> None:
    if entry is not None:
        word = _WORDS.get(entry.kind, "I")
        _put(data, entry, word, entry.value_at, value % (1 << 8 * struct.calcsize("<" + word)))


def _put(data: bytearray, entry: _Entry, word: str, at: int, value: int) -> None:
    size = struct.calcsize("<" + word)
    if at + size <= len(data):
        struct.pack_into(entry.order + word, data, at, value % (1 << 8 * size))


def _entries(data: bytearray) -> Iterator[_Entry]:
    """Every entry of every directory of a (sound) classic or big TIFF; none of other files."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None or len(data) < 16:
        return
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    at: int = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    seen = 0
    while at and at + 8 <= len(data) and seen < _MAX_TAGS:
        number = struct.unpack_from(order + ("Q" if big else "H"), data, at)[0]
        at += 8 if big else 2
        for _ in range(number):
            if at + 20 > len(data):
                return
            tag, kind = struct.unpack_from(order + "HH", data, at)
            yield _Entry(at, tag, kind, big, order)
            at += 20 if big else 12
            seen += 1
        if at + 8 > len(data):
            return
        at = struct.unpack_from(order + ("Q" if big else "I"), data, at)[0]

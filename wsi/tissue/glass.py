"""The colour of a slide's own glass, and how it changes over the slide.

Glass is what is bright, even and not drawn by a computer. Stained tissue is never even: at 8 um/px
the local standard deviation of its density measured 0.022 and more on frozen, fatty and biopsy
sections of three scanners, that of glass 0.004 and less. So a tint, which changes the colour but
not the evenness, does not matter, as white balance on a reference white does not depend on the
lamp.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi.slides.reader import RGB

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

EVEN = 0.012
"""Local standard deviation of the density (natural logarithm) below which a place is even."""

_WINDOW = 5
_SAMPLE = 12_000
_MODE_WIDTH = 0.05
_MIN_SHARE = 0.004
_MIN_SHARE_OF_EVEN = 0.05
_WITHIN = 0.05
_AS_FILLING = 0.015
_LEVEL = 0.008
_USUAL = (244.0, 244.0, 244.0)


@dataclass(frozen=True)
class _Plausible:
    """What may be glass.

    Attributes:
        rough: less rough than this.
        density: less dense than this against the brightest there can be: a lamp may be dim.
        tint: its channels differ by less than this: a lamp may be warm.
        share: at least this much of the pixels.
    """

    rough: float
    density: float
    tint: float
    share: float


_ALONE = _Plausible(0.007, 1.0, 0.30, 0.02)
_NOISY = _Plausible(0.006, 1.0, 0.30, 0.05)
"""Where nothing is brighter; the second for what is rough by noise alone."""

_MAX_NOISE = 0.03

_BESIDE_WHITE = _Plausible(0.008, 0.40, 0.22, 0.02)
"""Beside what was never scanned."""

_BESIDE_GLASS = _Plausible(0.006, 0.15, 0.035, 0.02)
"""Beside what is as even as if it had never been scanned, yet not white: pale tissue is near."""

_BLOCKS = 8
_MIN_BLOCKS = 20


@dataclass(frozen=True)
class Glass:
    """What empty glass looks like on one slide.

    Attributes:
        rgb: (3,) float32: the median over the slide.
        log_coefficients: (terms, 3): the logarithm of the colour as a polynomial of the place; one
            term where it is the same everywhere.
        found: whether there is any glass; else ``rgb`` is a usual value.
    """

    rgb: Float
    log_coefficients: NDArray[np.float64]
    found: bool

    @property
    def tint(self) -> float:
        """Densest minus thinnest channel against white."""
        return float(np.log(self.rgb.max() / self.rgb.min()))

    @cached_property
    def is_even(self) -> bool:
        """Whether one colour serves for the whole slide."""
        return len(self.log_coefficients) == 1

    def log_over(self, shape: tuple[int, int]) -> Float:
        """(rows, cols, 3) float32: the logarithm of the glass at each pixel of an overview."""
        rows, cols = shape
        small = (min(rows, 64), min(cols, 64))
        y, x = np.mgrid[0 : small[0], 0 : small[1]]
        terms = _terms((x.ravel() + 0.5) / small[1], (y.ravel() + 0.5) / small[0])
        values = terms[:, : len(self.log_coefficients)] @ self.log_coefficients
        # What lies far from any glass is no better known than the colour of the rest.
        values = np.clip(values, np.log(self.rgb) - 0.3, np.log(self.rgb) + 0.3)
        field = values.reshape(*small, 3).astype(np.float32)
        return np.asarray(cv2.resize(field, (cols, rows), interpolation=cv2.INTER_LINEAR))


def roughness(overview: RGB) -> Float:
    """(rows, cols) float32: local standard deviation of the grey density, 5 x 5 pixels."""
    grey = cv2.cvtColor(overview, cv2.COLOR_RGB2GRAY)
    table = np.log(np.arange(256, dtype=np.float32) + 8)
    log = np.asarray(cv2.LUT(grey, table), np.float32) - np.float32(5)
    mean = cv2.blur(log, (_WINDOW, _WINDOW))
    square = cv2.blur(log * log, (_WINDOW, _WINDOW))
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0)), np.float32)


def find_glass(overview: RGB, rough: Float) -> Glass:
    """The glass of a slide.

    The brightest mode of the even pixels, grown over the slide as a polynomial of the second degree
    (flat-field correction) where it is seen in enough places. What is white because it was never
    scanned counts only where there is nothing else.

    Args:
        overview: (rows, cols, 3) uint8 of the whole slide.
        rough: what ``roughness`` says of it.
    """
    rows, cols = overview.shape[:2]
    filling = _filling(overview, rough)
    chosen = np.flatnonzero(filling.ravel())
    white = None
    if len(chosen):
        white = np.log(
            np.median(overview.reshape(-1, 3)[chosen[:: 1 + len(chosen) // 999]], axis=0)
        )
        rest = np.flatnonzero(~filling.ravel())
        # Where next to nothing was scanned, what was not is all there is.
        chosen = rest if len(rest) > _MIN_SHARE * rows * cols else chosen
    else:
        chosen = np.arange(rows * cols)
    logs, place, smooth = _sampled(overview, rough, chosen)
    plausible = _ALONE
    if white is not None:
        plausible = _BESIDE_WHITE if white.min() > np.log(252.5) else _BESIDE_GLASS
    seed = _brightest_mode(logs, smooth, white, plausible)
    if seed is not None:
        return _grown(logs, place, smooth < plausible.rough, seed)
    if white is None:
        smooth = _without_noise(overview, rough).ravel()[:: 1 + rough.size // _SAMPLE]
        seed = _brightest_mode(logs, smooth, white, _NOISY)
        if seed is not None:
            return _grown(logs, place, smooth < _NOISY.rough, seed)
    else:
        # Glass so clear that it was taken for what was never scanned, or nothing but that.
        logs, place, smooth = _sampled(overview, rough, np.arange(rows * cols))
        return _grown(logs, place, smooth < _ALONE.rough, white)
    usual = np.array(_USUAL)
    return Glass(usual.astype(np.float32), np.log(usual)[None], False)


def _without_noise(overview: RGB, rough: Float) -> Float:
    """Roughness of the picture reduced by two, which halves noise and leaves most of a texture."""
    rows, cols = rough.shape
    half = (max(1, cols // 2), max(1, rows // 2))
    small = cv2.resize(overview, half, interpolation=cv2.INTER_AREA)
    reduced = cv2.resize(roughness(np.asarray(small, np.uint8)), (cols, rows))
    return np.asarray(np.where(rough < _MAX_NOISE, reduced, np.inf), np.float32)


def _sampled(
    overview: RGB, rough: Float, chosen: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64], Float]:
    """Logarithm of the colour, place and roughness of some of the chosen pixels."""
    rows, cols = rough.shape
    chosen = chosen[:: 1 + len(chosen) // _SAMPLE]
    logs = np.log(np.maximum(overview.reshape(-1, 3)[chosen], 1).astype(np.float64))
    place = _terms((chosen % cols + 0.5) / cols, (chosen // cols + 0.5) / rows)
    return logs, place, rough.ravel()[chosen]


def _filling(pixels: RGB, rough: Float) -> Bool:
    """What is of one colour, the brightest in every channel: never scanned, or overexposed."""
    step = 1 + max(pixels.shape[:2]) // 256
    top = np.percentile(pixels[::step, ::step], 99.5, axis=(0, 1))
    least = np.maximum(np.floor(top) - 1, 0)
    filling = cv2.inRange(pixels, least, np.full(3, 255.0)) > 0
    filling &= rough < EVEN / 4
    if filling.mean() < _MIN_SHARE or top.min() < 128:
        return np.zeros(filling.shape, np.bool_)
    return np.asarray(filling, np.bool_)


def _brightest_mode(
    logs: NDArray[np.float64],
    rough: Float,
    filling: NDArray[np.float64] | None,
    plausible: _Plausible,
) -> NDArray[np.float64] | None:
    """The logarithm of the colour of the brightest large group of even pixels that may be glass."""
    grey = logs.mean(axis=1)
    rest = rough < plausible.rough
    white = np.full(3, np.log(255.0)) if filling is None else filling
    if filling is not None:
        rest &= (np.abs(logs - white) > _AS_FILLING).any(axis=1)
    least = max(8.0, plausible.share * len(grey), _MIN_SHARE_OF_EVEN * rest.sum())
    while rest.sum() >= least:
        order = np.sort(grey[rest])
        # From the brightest down: the first window that holds enough of them.
        first = order[: len(order) - int(least) + 1]
        last = order[int(least) - 1 :]
        tight = np.flatnonzero(last - first < _MODE_WIDTH)
        if not len(tight):
            return None
        top = last[tight[-1]]
        group = rest & (grey <= top) & (grey > top - _MODE_WIDTH)
        colour = np.asarray(np.median(logs[group], axis=0))
        density = white - colour
        if density.mean() < plausible.density and np.ptp(density) < plausible.tint:
            return colour
        rest &= grey < top - _MODE_WIDTH
    return None


def _grown(
    logs: NDArray[np.float64], place: NDArray[np.float64], even: Bool, seed: NDArray[np.float64]
) -> Glass:
    """The glass around a seed colour; its change over the slide where enough of it is seen."""
    fit = seed[None]
    near = even
    for terms in (1, 1, 3, 3, 6, 6):
        near = even & (np.abs(logs - place[:, : len(fit)] @ fit) < _WITHIN).all(axis=1)
        if terms == 1:
            fit = logs[near].mean(axis=0)[None] if near.any() else fit
            continue
        if not _is_spread(place[near]):
            break
        known = place[near][:, :terms]
        fit = np.asarray(np.linalg.solve(known.T @ known, known.T @ logs[near]), np.float64)
    if len(fit) > 1 and np.ptp(place[:, : len(fit)] @ fit, axis=0).max() < _LEVEL:
        fit = logs[near].mean(axis=0)[None]
    rgb = np.exp(logs[near].mean(axis=0)) if near.any() else np.exp(seed)
    return Glass(rgb.astype(np.float32), fit, True)


def _is_spread(place: NDArray[np.float64]) -> bool:
    """Whether glass is seen in so many parts of the slide that its change is known."""
    column = np.minimum((place[:, 1] + 0.5) * _BLOCKS, _BLOCKS - 1).astype(int)
    row = np.minimum((place[:, 2] + 0.5) * _BLOCKS, _BLOCKS - 1).astype(int)
    counts = np.bincount(row * _BLOCKS + column, minlength=_BLOCKS**2)
    return int((counts > 0.05 * len(place) / _BLOCKS**2).sum()) >= _MIN_BLOCKS


def _terms(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 6): 1, x, y, x2, xy, y2 of places in 0..1, centred."""
    x, y = x - 0.5, y - 0.5
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)

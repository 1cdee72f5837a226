"""Faults to paint on pictures of slides: ink, blur, folds, dust, bubbles, borders."""

from collections.abc import Mapping
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi.slides.reader import RGB

Ink = Literal["green", "blue", "red", "black"]

INKS: Mapping[Ink, tuple[float, float, float]] = {
    "green": (0.12, 0.62, 0.38),
    "blue": (0.15, 0.35, 0.80),
    "red": (0.95, 0.16, 0.20),
    "black": (0.10, 0.10, 0.11),
}
"""Share of red, green and blue light that each ink lets through."""

Mask = NDArray[np.bool_]
Painted = tuple[RGB, Mask]


def add_pen(
    pixels: RGB,
    ink: Ink,
    points: list[tuple[int, int]],
    width_px: int,
) -> Painted:
    """Draw along points with a marker; returns the picture and the (height, width) mask of ink."""
    drawn = np.zeros(pixels.shape[:2], np.uint8)
    cv2.polylines(drawn, [np.array(points, np.int32)], False, 1, width_px)
    through = np.where(drawn[..., None] > 0, np.array(INKS[ink]), 1.0)
    return (pixels * through).astype(np.uint8), drawn.astype(bool)


def add_blur(pixels: RGB, box: tuple[int, int, int, int], sigma_px: float) -> Painted:
    """Put a box (left, top, right, bottom) out of focus."""
    left, top, right, bottom = box
    mask = np.zeros(pixels.shape[:2], np.bool_)
    mask[top:bottom, left:right] = True
    out = pixels.copy()
    soft = cv2.GaussianBlur(pixels[top:bottom, left:right], (0, 0), sigma_px)
    out[top:bottom, left:right] = soft
    return out, mask


def add_fold(
    pixels: RGB, start: tuple[int, int], end: tuple[int, int], width_px: int, glass: float = 244
) -> Painted:
    """Lay the tissue double along a line: its light is absorbed twice."""
    drawn = np.zeros(pixels.shape[:2], np.uint8)
    cv2.line(drawn, start, end, 1, width_px)
    mask = drawn.astype(bool)
    out = pixels.copy()
    shifted = np.roll(pixels, (width_px, width_px), axis=(0, 1))
    twice = pixels.astype(np.float32) * shifted.astype(np.float32) / glass
    out[mask] = np.clip(twice[mask], 0, 255).astype(np.uint8)
    return out, mask


def add_bubble(pixels: RGB, centre: tuple[int, int], radius_px: int) -> Painted:
    """An air bubble: a dark neutral rim around what lies below it."""
    out = pixels.copy()
    cv2.circle(out, centre, radius_px, (90, 90, 92), max(2, radius_px // 10), cv2.LINE_AA)
    mask = np.zeros(pixels.shape[:2], np.uint8)
    cv2.circle(mask, centre, radius_px, 1, -1)
    return out, mask.astype(bool)


def add_dust(pixels: RGB, centres: list[tuple[int, int]], radius_px: int) -> Painted:
    """Grey specks."""
    out = pixels.copy()
    mask = np.zeros(pixels.shape[:2], np.uint8)
    for centre in centres:
        cv2.circle(out, centre, radius_px, (70, 70, 71), -1, cv2.LINE_AA)
        cv2.circle(mask, centre, radius_px, 1, -1)
    return out, mask.astype(bool)


def add_border(pixels: RGB, grey: int, width_px: int) -> Painted:
    """A flat rim on the left and at the top, as scanners leave beside the scanned area."""
    out = pixels.copy()
    mask = np.zeros(pixels.shape[:2], np.bool_)
    mask[:width_px] = True
    mask[:, : width_px // 2] = True
    noise = np.random.default_rng(0).integers(-2, 3, (int(mask.sum()), 1))
    out[mask] = np.clip(grey + noise, 0, 255).astype(np.uint8)
    return out, mask

"""Whether a resolution can be true, and which one is used where user and file disagree."""

from dataclasses import dataclass, replace

from wsi.errors import CoarseSlideError, MppError
from wsi.geometry import Mpp, Size
from wsi.slides.stated import SAME_MPP, Stated, differ, um_per_px

MPP_RANGE = (0.05, 40.0)
"""Micrometres per pixel of a slide's level 0: a 100x objective gives about 0.05, exported overviews
of a whole slide up to 30 or so."""

LARGEST_SLIDE_MM = (155.0, 105.0)
"""Longer and shorter side. A glass slide has 25 x 75 mm, the largest for whole mounts 100 x 150."""

MAX_MPP_ASPECT = 1.05
"""Pixels whose sides differ by more than this factor are refused: the models expect square ones."""

PRINTER_DPI = (
    72, 75, 90, 96, 100, 120, 144, 150, 180, 200, 220, 240, 254, 300, 350, 360, 400, 600, 720, 800,
    1000, 1200, 1440, 2400, 4800,
)  # fmt: skip
"""What photo and layout software writes into the resolution tags of a picture."""

WARN_ENLARGED = 1.1
MAX_ENLARGED = 1.5
"""How many times a slide may be enlarged to the resolution that a model or patch wants: beyond the
first with a warning, beyond the second not at all, as the detail that is looked for is missing."""

_MAX_RATIO = 4.0  # of a pixel's sides; beyond it, one of the two tags is not a resolution
_DPI_TOLERANCE = 0.0015  # 118 dots per cm is 300 dpi
_UM_PER_INCH = 25_400.0

GIVE = 'give it yourself: --mpp 0.5 on the command line, "mpp": 0.5 through the API'
INSIST = 'insist: --force-mpp on the command line, "force_mpp": true through the API'


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolution:
    """What is known of a slide's level-0 resolution. Made by ``settle``.

    Attributes:
        stated: what the file states, true or not; ``None`` where it states none.
        doubt: why that cannot be true; empty where it can.
        given: micrometres per pixel that the user gave, where they count.
        forced: the user insists on them, against what the file states.
        used: what lengths are computed with; ``None`` where none is known that can be true.
        by_tags_alone: see ``wsi.slides.stated.Stated``.
        warnings: sentences for people.
    """

    stated: Mpp | None
    doubt: str = ""
    given: float | None = None
    forced: bool = False
    used: Mpp | None = None
    by_tags_alone: bool = False
    warnings: tuple[str, ...] = ()

    def require(self, slide: str) -> Mpp:
        """The resolution, or the reason why the slide has none that can be used.

        Raises:
            MppError: it is missing or implausible, or the pixels are not square.
        """
        if self.used is None:
            if self.stated is None:
                notes = f" ({'; '.join(self.warnings)})" if self.warnings else ""
                raise MppError(slide, f"the file has no resolution (mpp){notes}; {GIVE}")
            raise MppError(
                slide, f"its resolution of {um_per_px(self.stated)} is implausible: {self.doubt}; "
                f"{GIVE}",
            )  # fmt: skip
        if not self.forced and not is_square(self.used):
            raise MppError(
                slide,
                f"its pixels are not square ({self.used.x:.4g} x {self.used.y:.4g} um, more than "
                f"5 % apart); give their mean and insist: --mpp {self.used.mean:.3g} --force-mpp "
                'on the command line, "mpp" and "force_mpp": true through the API',
            )
        return self.used


def settle(
    slide: str, stated: Stated, size: Size, given: float | None = None, *, force: bool = False
) -> Resolution:
    """Which resolution a slide has.

    A given one counts where the file states none, or one that is implausible. Where the file states
    a plausible one that differs, the user must insist. The stated ratio of width to height of a
    pixel is kept: ``given`` is their (geometric) mean.

    Args:
        slide: its name.
        stated: what its file states.
        size: level 0.
        given: micrometres per pixel by the user.
        force: the user insists on ``given``.

    Raises:
        ConfigError: ``given`` is not a positive number.
        MppError: ``given`` contradicts the file, or is itself implausible.
    """
    doubt = implausible(stated.mpp, size, tags_alone=stated.by_tags_alone) if stated.mpp else ""
    trusted = stated.mpp if not doubt else None
    known = Resolution(
        stated=stated.mpp,
        doubt=doubt,
        used=trusted,
        by_tags_alone=stated.by_tags_alone,
        warnings=stated.notes,
    )
    if given is None:
        return known
    Mpp.square(given)  # raises where it is not a resolution
    if trusted is not None and not force:
        if differ(given, trusted.mean) <= SAME_MPP:
            return known
        raise MppError(
            slide,
            f"{given:g} um/px was given, but the file states {um_per_px(trusted)}; leave the given "
            f"one out, or {INSIST}",
        )
    used = _with_ratio(given, stated.mpp)
    wrong = implausible(used, size)
    if wrong and not force:
        raise MppError(
            slide,
            f"the given resolution of {given:g} um/px is implausible: {wrong}; correct it, or "
            f"{INSIST}",
        )
    told = (*_named_both(given, stated.mpp), *_implausible_by_force(wrong), *stated.notes)
    return replace(known, given=given, forced=force, used=used, warnings=told)


def implausible(mpp: Mpp, size: Size, *, tags_alone: bool = False) -> str:
    """Why a slide of this level-0 size cannot have this resolution; empty where it can.

    Args:
        mpp: micrometres per pixel.
        size: level 0.
        tags_alone: nothing but a plain TIFF's resolution tags says so.
    """
    reasons = []
    dpi = _printer_dpi(mpp) if tags_alone else None
    if dpi is not None:
        reasons.append(f"it is {dpi} dpi, a resolution for printing")
    low, high = MPP_RANGE
    if not (low <= mpp.x <= high and low <= mpp.y <= high):
        reasons.append(f"scanners give {low:g} to {high:g} um/px")
    sides = sorted((size.width * mpp.x / 1000, size.height * mpp.y / 1000), reverse=True)
    if sides[0] > LARGEST_SLIDE_MM[0] or sides[1] > LARGEST_SLIDE_MM[1]:
        reasons.append(
            f"the slide would measure {_mm(sides[0])} x {_mm(sides[1])} mm, and glass slides "
            "measure 25 x 75 mm, the largest 100 x 150 mm"
        )
    return "; ".join(reasons)


def require_detail(slide: str, mpp: Mpp, wanted: float, wanted_by: str) -> tuple[str, ...]:
    """A warning where a slide is a little coarser than what is wanted of it.

    Args:
        slide: its name.
        mpp: its level 0.
        wanted: micrometres per pixel that it is to be drawn at.
        wanted_by: what wants that, for messages.

    Raises:
        CoarseSlideError: the slide is coarser by more than ``MAX_ENLARGED``.
    """
    times = mpp.mean / wanted
    text = f"the slide has {um_per_px(mpp)}, and {wanted_by} needs {wanted:.4g} um/px"
    if times > MAX_ENLARGED * (1 + 1e-6):
        raise CoarseSlideError(
            slide,
            f"{text}: it is {times:.3g} times too coarse ({MAX_ENLARGED:g} at most) and lacks the "
            "required detail; scan it at a finer resolution, or use a model made for this one",
        )
    if times > WARN_ENLARGED * (1 + 1e-6):
        return (f"coarse slide: {text}: it is {times:.3g} times too coarse",)
    return ()


def is_square(mpp: Mpp) -> bool:
    """Whether a pixel's sides are nearly alike."""
    return _ratio(mpp) <= MAX_MPP_ASPECT


def _ratio(mpp: Mpp) -> float:
    return max(mpp.x, mpp.y) / min(mpp.x, mpp.y)


def _mm(length: float) -> str:
    return f"{length:.0f}" if length >= 10 else f"{length:.2g}"


def _printer_dpi(mpp: Mpp) -> int | None:
    dpi_x, dpi_y = _UM_PER_INCH / mpp.x, _UM_PER_INCH / mpp.y
    for dpi in PRINTER_DPI:
        if differ(dpi_x, dpi) <= _DPI_TOLERANCE and differ(dpi_y, dpi) <= _DPI_TOLERANCE:
            return dpi
    return None


def _with_ratio(given: float, stated: Mpp | None) -> Mpp:
    """The given mean with the stated ratio of the sides, where that can be one."""
    if stated is None or _ratio(stated) > _MAX_RATIO:
        return Mpp.square(given)
    scale = given / stated.mean
    return Mpp(stated.x * scale, stated.y * scale)


def _named_both(given: float, stated: Mpp | None) -> tuple[str, ...]:
    if stated is None:
        return ()
    both = f"resolution {given:g} um/px given by the user; the file states {um_per_px(stated)}"
    if is_square(stated):
        return (both,)
    sides = "the ratio of its sides is kept"
    if _ratio(stated) > _MAX_RATIO:
        sides = "its pixels are taken as square"
    return (f"{both}; {sides}",)


def _implausible_by_force(wrong: str) -> tuple[str, ...]:
    return (f"the given resolution is implausible: {wrong}",) if wrong else ()

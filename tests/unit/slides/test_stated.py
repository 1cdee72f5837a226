"""What a file says of its own resolution: OME headers, tags, and where they contradict."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from wsi.geometry import Mpp, Size
from wsi.slides import open_slide
from wsi.slides.stated import stated_resolution

SIZE = Size(512, 384)
OME = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
<Image ID="Image:0"><Pixels SizeX="99" SizeY="88" PhysicalSizeX="7" PhysicalSizeY="7"/></Image>
<Image ID="Image:1"><Pixels SizeX="512" SizeY="384" {sizes}/></Image></OME>"""


def generic(description: str = "", **more: str) -> dict[str, str]:
    return {"openslide.vendor": "generic-tiff", "tiff.ImageDescription": description, **more}


def tags(dots: float, unit: str = "centimeter") -> dict[str, str]:
    found = {f"tiff.{axis}Resolution": str(dots) for axis in "XY"} | {"tiff.ResolutionUnit": unit}
    if unit != "unknown":
        um = {"centimeter": 1e4, "inch": 25_400.0}[unit] / dots
        found |= {"openslide.mpp-x": str(um), "openslide.mpp-y": str(um)}
    return found


def aperio(mpp: float, power: float, **more: str) -> dict[str, str]:
    return {
        "openslide.vendor": "aperio",
        "openslide.mpp-x": str(mpp),
        "openslide.mpp-y": str(mpp),
        "openslide.objective-power": str(power),
        **more,
    }


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("", 0.5), ("\u00b5m", 0.5), ("\u03bcm", 0.5), ("um", 0.5), ("nm", 500), ("mm", 0.0005),
        ("pm", 500_000), ("cm", 0.00005), ("m", 5e-7), ("\u00c5", 5000), ("in", 0.5 / 25_400),
    ],
)  # fmt: skip
def test_physical_size_of_the_image_that_level_0_is_counts_in_every_unit(
    unit: str, value: float
) -> None:
    units = f'PhysicalSizeXUnit="{unit}" PhysicalSizeYUnit="{unit}"' if unit else ""
    sizes = f'PhysicalSizeX="{value}" PhysicalSizeY="{2 * value}" {units}'
    found = stated_resolution(generic(OME.format(sizes=sizes)), SIZE)
    assert found.mpp is not None
    assert (found.mpp.x, found.mpp.y) == pytest.approx((0.5, 1.0))
    assert not found.by_tags_alone


def test_the_ome_header_counts_against_the_tags_and_the_conflict_is_named() -> None:
    text = OME.format(sizes='PhysicalSizeX="0.5" PhysicalSizeY="0.5"')
    found = stated_resolution(generic(text, **tags(40_000)), SIZE)
    assert found.mpp == Mpp(0.5, 0.5)
    assert found.notes == (
        "its OME header states 0.5 um/px, its TIFF tags 0.25 um/px: the header's is used",
    )
    agreeing = stated_resolution(generic(text, **tags(20_000)), SIZE)
    assert (agreeing.mpp, agreeing.notes) == (Mpp(0.5, 0.5), ())


def test_an_ome_header_of_other_images_or_units_leaves_the_tags_and_says_so() -> None:
    text = OME.format(sizes='PhysicalSizeX="0.5" PhysicalSizeY="0.5"')
    other = stated_resolution(generic(text, **tags(40_000)), Size(7, 7))
    assert other.mpp == Mpp(0.25, 0.25)
    assert "does not describe an image of 7 x 7 px" in other.notes[0]
    pixel = 'PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeXUnit="pixel"'
    odd = stated_resolution(generic(OME.format(sizes=pixel), **tags(1, "unknown")), SIZE)
    assert odd.mpp is None
    assert "'pixel', which is not a length" in odd.notes[0]


def test_an_ome_header_without_size_of_a_pixel_leaves_the_tags() -> None:
    found = stated_resolution(generic(OME.format(sizes=""), **tags(40_000)), SIZE)
    assert (found.mpp, found.notes, found.by_tags_alone) == (Mpp(0.25, 0.25), (), True)


@pytest.mark.parametrize(
    "text", ["plain words", "<OME broken", "<OME><a></OME>", "<a>OME</a>", "<b><OME/></b>"]
)
def test_a_description_that_is_no_ome_header_is_passed_over(text: str) -> None:
    found = stated_resolution(generic(text, **tags(40_000)), SIZE)
    assert (found.mpp, found.notes) == (Mpp(0.25, 0.25), ())


def test_tags_without_a_unit_state_no_resolution() -> None:
    assert stated_resolution(generic(**tags(40_000, "unknown")), SIZE).mpp is None


@pytest.mark.parametrize(("mpp", "power"), [(0.5, 40), (0.25, 20), (2.0, 20)])
def test_aperio_power_and_resolution_that_contradict_are_named(mpp: float, power: float) -> None:
    (note,) = stated_resolution(aperio(mpp, power), SIZE).notes
    assert note.startswith(f"the file states {mpp:g} um/px at {power:g}x, where about")


@pytest.mark.parametrize(("mpp", "power"), [(0.499, 20), (0.2527, 40), (0.263, 40), (1.0, 10)])
def test_aperio_power_and_resolution_that_agree_are_not(mpp: float, power: float) -> None:
    assert stated_resolution(aperio(mpp, power), SIZE).notes == ()


def test_other_scanners_may_magnify_further_before_the_camera() -> None:
    mirax = aperio(0.243, 20) | {"openslide.vendor": "mirax"}
    assert stated_resolution(mirax, SIZE).notes == ()


def test_aperio_tags_that_contradict_the_header_are_named() -> None:
    found = stated_resolution(
        aperio(0.499, 20)
        | {
            "tiff.XResolution": "40000",
            "tiff.YResolution": "40000",
            "tiff.ResolutionUnit": "centimeter",
        },
        SIZE,
    )
    assert found.mpp == Mpp(0.499, 0.499)
    assert "its Aperio header states 0.499 um/px, its TIFF tags 0.25 um/px" in found.notes[0]


def test_an_ome_tiff_opens_with_its_physical_size(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    about = {"axes": "YXS", "PhysicalSizeX": 500.0, "PhysicalSizeXUnit": "nm",
             "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "\u00b5m"}  # fmt: skip
    tifffile.imwrite(
        path, np.full((384, 512, 3), 200, np.uint8), tile=(256, 256), photometric="rgb",
        compression="jpeg", resolution=(300, 300), resolutionunit="INCH", metadata=about, ome=True,
    )  # fmt: skip
    with open_slide(path) as slide:
        assert slide.mpp is not None
        assert (slide.mpp.x, slide.mpp.y) == pytest.approx((0.5, 0.5))
        assert "its TIFF tags 84.67 um/px" in slide.warnings[0]


def test_a_resolution_however_small_is_not_zero() -> None:
    assert Mpp(1e-200, 1e-200).mean == pytest.approx(1e-200)
    assert Mpp(0.25, 0.5).mean == (0.25 * 0.5) ** 0.5

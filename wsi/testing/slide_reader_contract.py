"""What every SlideReader must do. Subclass it and provide the fixtures."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from wsi.errors import ConfigError
from wsi.geometry import Region, Size
from wsi.slides import RGB, SlideReader, thumbnail


class SlideReaderContract:
    """A slide of at least 200 x 200 px; ``level0`` holds its pixels."""

    @pytest.fixture
    def slide(self) -> Iterator[SlideReader] | SlideReader:
        raise NotImplementedError

    @pytest.fixture
    def level0(self) -> RGB:
        raise NotImplementedError

    def test_it_keeps_the_protocol(self, slide: SlideReader) -> None:
        assert isinstance(slide, SlideReader)

    def test_the_first_level_is_the_slide(self, slide: SlideReader) -> None:
        assert slide.levels[0].size == slide.size
        assert slide.levels[0].downsample == 1.0

    def test_a_sound_slide_opens_without_warnings(self, slide: SlideReader) -> None:
        assert slide.warnings == ()

    def test_whole_pixels_of_level_0_are_read_unchanged(
        self, slide: SlideReader, level0: RGB
    ) -> None:
        pixels = slide.read_region(Region(17, 33, 120, 90), Size(120, 90))
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, level0[33:123, 17:137])

    def test_what_lies_outside_the_slide_is_white(self, slide: SlideReader, level0: RGB) -> None:
        width, height = slide.size.width, slide.size.height
        pixels = slide.read_region(Region(width - 20, height - 10, 50, 40), Size(50, 40))
        np.testing.assert_array_equal(pixels[:10, :20], level0[-10:, -20:])
        assert (pixels[10:] == 255).all()
        assert (pixels[:, 20:] == 255).all()
        before = slide.read_region(Region(-30, -30, 20, 20), Size(20, 20))
        assert (before == 255).all()

    def test_every_level_shows_the_slide_at_its_place(
        self, slide: SlideReader, level0: RGB
    ) -> None:
        height, width = level0.shape[:2]
        for level in slide.levels[1:]:
            pixels = slide.read_region(Region.whole(slide.size), level.size).astype(float)
            for x in (0.0, 0.5):
                for y in (0.0, 0.5):
                    seen = pixels[_part(pixels.shape[0], y), _part(pixels.shape[1], x)]
                    there = level0[_part(height, y), _part(width, x)]
                    assert np.abs(seen.mean((0, 1)) - there.mean((0, 1))).max() < 3.0

    def test_a_reduced_region_keeps_its_mean_colour(self, slide: SlideReader, level0: RGB) -> None:
        small = slide.read_region(Region(0, 0, 192, 192), Size(24, 24))
        assert small.shape == (24, 24, 3)
        difference = small.mean((0, 1)) - level0[:192, :192].mean((0, 1))
        assert np.abs(difference).max() < 3.0

    def test_an_enlarged_region_has_the_size_asked_for(self, slide: SlideReader) -> None:
        assert slide.read_region(Region(10.5, 10.5, 8.25, 8.25), Size(64, 64)).shape == (64, 64, 3)

    def test_threads_read_the_same_pixels(self, slide: SlideReader) -> None:
        regions = [Region(x, y, 64, 64) for x in (0, 50, 100) for y in (0, 60, 120)] * 4
        alone = [slide.read_region(region, Size(64, 64)) for region in regions]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda r: slide.read_region(r, Size(64, 64)), regions))
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_a_thumbnail_fits_and_keeps_the_shape(self, slide: SlideReader) -> None:
        picture = thumbnail(slide, 100)
        assert max(picture.shape[:2]) == 100
        ratio = slide.size.width / slide.size.height
        assert abs(picture.shape[1] / picture.shape[0] - ratio) < 0.05 * ratio

    def test_an_unknown_associated_image_is_refused_with_those_there_are(
        self, slide: SlideReader
    ) -> None:
        with pytest.raises(ConfigError, match="no associated image 'nonsense'"):
            slide.associated_image("nonsense")


def _part(side: int, start: float) -> slice:
    """Half of a side, from a share of it."""
    return slice(round(side * start), round(side * (start + 0.5)))

"""A class has one colour everywhere."""

from wsi.annotations import colour_of


def test_colours_are_those_of_the_page() -> None:
    assert colour_of(" Tumor ") == (200, 0, 0)
    # The same figures are in service/web/test/annotations.test.ts.
    assert colour_of("My class 2") == (110, 110, 0)
    assert colour_of("constructor") == (110, 110, 0)

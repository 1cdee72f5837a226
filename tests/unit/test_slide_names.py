"""What a slide is called: the ending of its format is cut, and nothing else."""

from pathlib import Path

import pytest

from wsi.slide_names import slide_stem


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("case.svs", "case"),
        ("case.SVS", "case"),
        ("a.b.tif", "a.b"),
        ("a.ome.tif", "a"),
        ("a.ome.tiff", "a"),
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.5", "1.2.3.5"),
        ("S3.5 HE", "S3.5 HE"),
        ("S3.5 HE.ndpi", "S3.5 HE"),
        ("TCGA-AA-3A.01Z-00-DX1.uuid-1.svs", "TCGA-AA-3A.01Z-00-DX1.uuid-1"),
        ("1.2.840.113.dcm", "1.2.840.113"),
        ("a.mrxs", "a"),
        ("a.svs.tif", "a.svs"),
        (".tif", ".tif"),
        ("case", "case"),
        ("deep/er/case.czi", "case"),
    ],
)
def test_only_endings_of_formats_are_cut(name: str, stem: str) -> None:
    assert slide_stem(name) == stem
    assert slide_stem(Path(name)) == stem

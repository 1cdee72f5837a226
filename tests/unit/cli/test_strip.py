"""``wsi strip-labels``."""

from pathlib import Path

from click.testing import CliRunner

from tests.unit.slides.svs import write_svs
from wsi.cli import main
from wsi.slides import open_slide


def test_a_copy_without_labels_is_written_and_nothing_is_overwritten(tmp_path: Path) -> None:
    slide, copy = write_svs(tmp_path / "a.svs"), tmp_path / "copy.svs"
    wish = ["strip-labels", str(slide), "--out", str(copy)]
    done = CliRunner().invoke(main, wish)
    assert (done.exit_code, done.output) == (0, f"{copy}: left out label, macro\n")
    with open_slide(copy) as stripped:
        assert stripped.associated_images == ("thumbnail",)
    again = CliRunner().invoke(main, wish)
    assert again.exit_code != 0
    assert "exists already" in again.output

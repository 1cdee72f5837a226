"""What a slide is called without the ending of its format. The one helper for names of results."""

import re
from pathlib import PurePath, PurePosixPath

_FORMATS = (
    "svs|tiff?|btf|ndpi|mrxs|scn|bif|svslide|vmsi?|vmu|czi|dcm|dicom|zip|png|jpe?g|bmp|isyntax"
)
_ENDING = re.compile(rf"(?<=.)(?:\.ome)?\.(?:{_FORMATS})$", re.IGNORECASE)


def slide_stem(path: PurePath | str) -> str:
    """A slide's file or folder name without the ending of its format.

    Only endings of formats that slides (and patches) come in are cut, never what merely follows a
    dot: ``case.svs`` is ``case``, ``a.ome.tif`` is ``a``, ``a.b.tif`` is ``a.b``, and the folders
    ``1.2.3.4`` and ``1.2.3.5`` keep their names apart.

    Args:
        path: of the slide, or its name alone.
    """
    name = path.name if isinstance(path, PurePath) else PurePosixPath(path).name
    return _ENDING.sub("", name)

"""Tables as Parquet. Needs pyarrow (extra ``parquet``)."""

from collections.abc import Mapping, Sequence
from typing import Any

from wsi.errors import MissingExtraError


def to_parquet(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """A Parquet file of columns of equal length; types are those of the values, None is null.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("Parquet", "parquet") from error
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(dict(columns)), sink)
    return bytes(sink.getvalue())

"""Read a Parquet file from an untrusted source, after checking the sizes in its header.

A few bytes can encode a million equal values, so a small file may unpack to a huge table.
"""

from pathlib import Path
from typing import Any, Final

from ercache.archives import ALWAYS_ALLOWED, MAX_RATIO
from ercache.errors import UsageError

_HINT: Final = "check that the file is complete"
_ITEM: Final = 8  # bytes of a value or an offset


def read_parquet(path: Path) -> Any:
    """Read a Parquet file whose columns hold numbers, texts, or lists of numbers.

    Returns:
        A `pyarrow.Table`. Columns of texts are dictionary-encoded, that is, each different text is stored once.

    Raises:
        UsageError: the file has columns of other types, or states impossible sizes.
        pyarrow.ArrowInvalid: it is not a Parquet file.
    """
    import pyarrow.parquet as pq

    most = max(ALWAYS_ALLOWED, MAX_RATIO * path.stat().st_size)
    with pq.ParquetFile(path) as file:
        head, schema = file.metadata, file.schema_arrow
    _check_size(head, most, path)
    odd = [
        f"{field.name}: {field.type}"
        for field in schema
        if not (_is_text(field.type) or _is_number(field.type))
    ]
    if odd:
        raise UsageError(
            f"{path}: some columns hold neither numbers nor texts",
            details=odd[:20],
            hint="remove these columns from the file",
        )
    texts = [field.name for field in schema if _is_text(field.type)]
    table = pq.read_table(path, read_dictionary=texts, partitioning=None)
    for name in texts:
        if _length(table.column(name)) > most:
            raise UsageError(
                f"{path}: the texts in column {name!r} are larger than a file of this size can hold",
                hint=_HINT,
            )
    return table


def _check_size(head: Any, most: int, path: Path) -> None:
    groups = [head.row_group(n) for n in range(head.num_row_groups)]
    columns = [group.column(n) for group in groups for n in range(group.num_columns)]
    claimed = sum(max(column.total_uncompressed_size, column.num_values * _ITEM) for column in columns)
    if claimed > most or head.num_rows * _ITEM > most:
        message = f"{path}: states {head.num_rows:,} rows and {claimed:,} bytes, more than the file can hold"
        raise UsageError(message, hint=_HINT)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(
        _is_text(kind.value_type)
        if types.is_dictionary(kind)
        else types.is_string(kind) or types.is_large_string(kind)
    )


def _is_number(kind: Any) -> bool:
    """Whether a pyarrow type is a number, or a list of numbers, however deeply nested."""
    from pyarrow import types

    while types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _length(column: Any) -> int:
    """Count the bytes of all texts in a column, to limit its memory. A text that occurs n times counts n times.

    Args:
        column: dictionary-encoded column of a `pyarrow.Table`: each different text is stored once.
    """
    import pyarrow.compute as pc

    total = 0
    for chunk in column.chunks:
        of_each = pc.take(pc.binary_length(chunk.dictionary), chunk.indices)
        total += pc.sum(pc.cast(of_each, "int64")).as_py() or 0
    return total

"""Tables of what was found, what failed, and what each term removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from intake_neurovault.changes import Change
from intake_neurovault.errors import ArgumentError, Failure
from intake_neurovault.fieldwise import Images
from intake_neurovault.filters import Step
from intake_neurovault.findings import Finding
from intake_neurovault.garbage import uncollected
from intake_neurovault.holdings import Holding
from intake_neurovault.records import Collection, Image
from intake_neurovault.schema import COLLECTION_FIELDS, IMAGE_FIELDS
from intake_neurovault.values import suggest

_FIRST = ("id", "name", "number_of_images", "DOI", "authors", "journal_name")


@uncollected()
def image_table(
    images: Sequence[Image], collections: Mapping[int, Collection]
) -> pd.DataFrame:
    """Make a table of images.

    Parameters
    ----------
    images : sequence of Image
        One for each row.
    collections : mapping of int to Collection
        The collections they are in.

    Returns
    -------
    pandas.DataFrame
        The core schema, typed: whole numbers as ``Int64``, truth values as
        ``boolean``, dates as ``datetime64`` in UTC; then the custom fields, as
        they came. What a type cannot hold, such as a whole number of 30 digits,
        is null; ``collection_name`` is the collection's, not a custom field.

    Examples
    --------
    >>> image_table([], {}).columns[:3].tolist()
    ['id', 'collection_id', 'collection_name']
    """
    images = Images.of(images)
    columns: dict[str, pd.Series[Any]] = {}
    for field in IMAGE_FIELDS:
        columns[field.name] = _COLUMNS[field.kind](images.field(field.name).values)
    names = {home: collections[home].name for home in set(images.homes)}
    columns["collection_name"] = _text([names[home] for home in images.homes])
    for name, values in _custom(images).items():
        columns.setdefault(name, pd.Series(values, dtype="object"))
    table = pd.DataFrame(columns)
    table.insert(2, "collection_name", table.pop("collection_name"))
    return table


def _custom(images: Images) -> dict[str, list[Any]]:
    """Give the values of custom fields, which stand in the order of the records."""
    first: dict[str, tuple[int, int]] = {}
    found: dict[str, list[Any]] = {}
    for custom in images.custom:
        fields = zip(custom.names, custom.columns, strict=True)
        for place, (name, column) in enumerate(fields):
            pairs = zip(custom.rows, column, strict=True)
            given = [(row, value) for row, value in pairs if value is not None]
            if not given:
                continue
            here = given[0][0], place
            first[name] = min(first.get(name, here), here)
            values = found.setdefault(name, [None] * len(images))
            for row, value in given:
                values[row] = value
    return {name: found[name] for name in sorted(found, key=first.__getitem__)}


def collection_table(collections: Sequence[Collection]) -> pd.DataFrame:
    """Make a table of collections.

    Parameters
    ----------
    collections : sequence of Collection
        One for each row.

    Returns
    -------
    pandas.DataFrame
        The core schema, typed as that of images is, what names a collection first.

    Examples
    --------
    >>> collection_table([]).columns[:4].tolist()
    ['id', 'name', 'number_of_images', 'DOI']
    """
    columns: dict[str, pd.Series[Any]] = {}
    for field in COLLECTION_FIELDS:
        values = [each.metadata.get(field.name) for each in collections]
        columns[field.name] = _COLUMNS[field.kind](values)
    rest = [name for name in columns if name not in _FIRST]
    return pd.DataFrame(columns)[[*_FIRST, *rest]]


def failure_table(failures: Sequence[Failure]) -> pd.DataFrame:
    """Make a table of failures.

    Parameters
    ----------
    failures : sequence of Failure
        One for each row.

    Returns
    -------
    pandas.DataFrame
        ``id``, ``collection_id``, ``url``, ``reason``, ``attempts``.

    Examples
    --------
    >>> failure_table([]).columns.tolist()
    ['id', 'collection_id', 'url', 'reason', 'attempts']
    """
    names = ("id", "collection_id", "url", "reason", "attempts")
    rows = [[getattr(failure, name) for name in names] for failure in failures]
    table = pd.DataFrame(rows, columns=list(names), dtype="object")
    for name in ("id", "collection_id"):
        table[name] = _whole_numbers(table[name].tolist())
    return table.astype({"url": "str", "reason": "str", "attempts": "int64"})


def step_table(steps: Sequence[Step], blame: int | None = None) -> pd.DataFrame:
    """Make a table of what each term removed.

    Parameters
    ----------
    steps : sequence of Step
        The terms, in the order in which they are applied.
    blame : int, optional
        The place of the term because of which nothing was left.

    Returns
    -------
    pandas.DataFrame
        ``term``; whether it was ``applied_to`` collections or images, and
        ``judged_by`` the index or Python; how many records it had ``seen``, how many
        it ``removed`` of these, and how many it would remove ``alone``; ``to_blame``.

    Examples
    --------
    >>> step_table([Step("age >= 20", 3, 5, "images", 8)]).T[0].tolist()
    ['age >= 20', 'images', 'Python', 8, 3, 5, False]
    """
    columns = {
        "term": pd.Series([step.term for step in steps], dtype="str"),
        "applied_to": pd.Series([step.of for step in steps], dtype="str"),
        "judged_by": pd.Series([step.by for step in steps], dtype="str"),
        "seen": pd.Series([step.seen for step in steps], dtype="int64"),
        "removed": pd.Series([step.removed for step in steps], dtype="int64"),
        "alone": pd.Series([step.alone for step in steps], dtype="int64"),
        "to_blame": pd.Series([i == blame for i in range(len(steps))], dtype="bool"),
    }
    return pd.DataFrame(columns)


def unique_values(table: pd.DataFrame, column: str) -> list[Any]:
    """List what occurs in a column.

    Parameters
    ----------
    table : pandas.DataFrame
        As `image_table` makes it.
    column : str
        The name of the column.

    Returns
    -------
    list
        Each value once, in the order of the rows; what is null is left out. Lists
        and mappings in custom fields count as values, and true is not 1.

    Raises
    ------
    ArgumentError
        If there is no such column.

    Examples
    --------
    >>> table = pd.DataFrame({"task": ["faces", None, "rest", "faces"]})
    >>> unique_values(table, "task")
    ['faces', 'rest']
    """
    if column not in table:
        near = suggest(str(column), table.columns)
        hint = f"did you mean {near!r}?" if near else ".df.columns lists what there is."
        msg = f"unique({column!r}): there is no such column; {hint}"
        raise ArgumentError(msg)
    found: dict[object, Any] = {}
    for value in table[column].tolist():
        if _is_there(value):
            found.setdefault(_key(value), value)
    return list(found.values())


def holding_table(holdings: Sequence[Holding]) -> pd.DataFrame:
    """Make a table of what a store has of each collection.

    Parameters
    ----------
    holdings : sequence of Holding
        One for each row.

    Returns
    -------
    pandas.DataFrame
        A column for each field of `Holding`.

    Examples
    --------
    >>> holding_table([]).columns[:4].tolist()
    ['collection_id', 'name', 'images', 'verified']
    """
    names = list(Holding.__annotations__)
    rows = [[getattr(each, name) for name in names] for each in holdings]
    return pd.DataFrame(rows, columns=names).astype(
        {name: "str" if name == "name" else "int64" for name in names}
    )


def finding_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """Make a table of what is wrong in a store.

    Parameters
    ----------
    findings : sequence of Finding
        One for each row.

    Returns
    -------
    pandas.DataFrame
        A column for each field of `Finding`.

    Examples
    --------
    >>> finding_table([]).columns[:4].tolist()
    ['problem', 'kind', 'path', 'reason']
    """
    rows = [finding.to_json() for finding in findings]
    table = pd.DataFrame(rows, columns=list(Finding.__annotations__))
    return table.astype({"collection_id": "Int64", "image_id": "Int64"})


def change_table(changes: Sequence[Change]) -> pd.DataFrame:
    """Make a table of what changed since a query was frozen.

    Parameters
    ----------
    changes : sequence of Change
        One for each row.

    Returns
    -------
    pandas.DataFrame
        ``id``, ``collection_id``, ``what``, ``before``, ``now``, ``advice``.

    Examples
    --------
    >>> change_table([]).columns.tolist()
    ['id', 'collection_id', 'what', 'before', 'now', 'advice']
    """
    names = list(Change.__annotations__)
    rows = [[getattr(each, name) for name in names] for each in changes]
    table = pd.DataFrame(rows, columns=names, dtype="object")
    for name in names:
        column = table[name].tolist()
        table[name] = _whole_numbers(column) if name.endswith("id") else _text(column)
    return table


def _is_there(value: object) -> bool:
    return isinstance(value, list | dict) or not pd.isna(value)  # type: ignore[call-overload]


def _key(value: object) -> tuple[bool, bool, object]:
    """Tell values apart that Python cannot hash, or takes for the same."""
    whole = isinstance(value, list | dict)
    text = json.dumps(value, sort_keys=True) if whole else value
    return whole, isinstance(value, bool), text


def _whole_numbers(values: Sequence[int | None]) -> pd.Series[Any]:
    held = [None if n is None or not -(2**63) <= n < 2**63 else n for n in values]
    return pd.Series(held, dtype="Int64")


def _text(values: Sequence[str | None]) -> pd.Series[Any]:
    # NOTE: JSON may hold half a character, which neither Arrow nor a file can.
    whole = [v if v is None else v.encode(errors="replace").decode() for v in values]
    return pd.Series(whole, dtype="str")


def _dates(values: Sequence[Any]) -> pd.Series[Any]:
    texts = pd.Series(values, dtype="object")
    dates = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
    return dates.astype("datetime64[us, UTC]")


_COLUMNS: Mapping[str, Callable[[Sequence[Any]], pd.Series[Any]]] = {
    "int": _whole_numbers,
    "float": lambda values: pd.Series(values, dtype="float64"),
    "bool": lambda values: pd.Series(values, dtype="boolean"),
    "text": _text,
    "date": _dates,
}

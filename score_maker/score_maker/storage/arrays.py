"""Rows as one array parameter per column, for statements that take any number of rows and yet are always the same text.

A statement that is always the same is prepared once, and its plan does not depend on how many rows come with it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

# PostgreSQL's types by column name, in the order of the columns.
ColumnTypes = Mapping[str, str]


def types_of(table: Table, *names: str) -> dict[str, str]:
    """Returns the types of these columns of the table, or of all of them."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return {name: table.c[name].type.compile(dialect) for name in names or table.c.keys()}


def unnest(columns: ColumnTypes, *, alias: str) -> str:
    """Returns the item of a FROM clause that has these columns and takes a parameter of the same name for each."""
    arrays = ", ".join(f"CAST(:{name} AS {sql_type}[])" for name, sql_type in columns.items())
    return f"unnest({arrays}) WITH ORDINALITY AS {alias}({', '.join(columns)}, position)"


def arrays_of(columns: ColumnTypes, rows: Iterable[object]) -> dict[str, list[Any]]:
    """Returns the parameters of `unnest` for objects that have an attribute for each column."""
    rows = list(rows)
    return {name: [getattr(row, name) for row in rows] for name in columns}

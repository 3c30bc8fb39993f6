"""What a term to order by is in SQL: expressions, and the groups in which runs come whatever the direction."""

from __future__ import annotations

from dataclasses import dataclass

from gittrack.schema.query import OrderTerm
from gittrack.schema.query_fields import Attribute, Metric, Param, Tag
from gittrack.store.index_tables import METRIC, PARAM, TAG
from gittrack.store.search_conditions import Conditions, is_told


@dataclass(frozen=True, slots=True)
class OrderKey:
    """What a term orders by: expressions, each in the same direction, after what ranks runs in any case.

    Where they stand in a table of their own, ``table`` is joined as ``alias``. Runs rank by the first of ``tests``
    that holds, and those without a row there last; an index, if any, walks through each of these groups in order.
    """

    expressions: tuple[str, ...]
    direction: str
    alias: str = ""
    table: str = ""
    key: str = ""
    tests: tuple[str, ...] = ()
    index: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.rank, *self.expressions) if self.tests else self.expressions

    @property
    def directions(self) -> tuple[str, ...]:
        return ("ASC",) * bool(self.tests) + (self.direction,) * len(self.expressions)

    @property
    def rank(self) -> str:
        present = f"{self.alias}.run IS NOT NULL AND " if self.table else ""
        cases = " ".join(f"WHEN {present}{test} THEN {at}" for at, test in enumerate(self.tests))
        return f"CASE {cases} ELSE {len(self.tests)} END"

    @property
    def join(self) -> str:
        if not self.table:
            return ""
        return f" LEFT JOIN {self.table} {self.alias} ON {self.alias}.run = r.no AND {self.alias}.key = {self.key}"


def order_key(term: OrderTerm, alias: str, conditions: Conditions, schema: str) -> OrderKey:
    """The key of a term for the runs ``r`` of a schema, what it joins named by an alias."""
    asked, direction = term.field, "DESC" if term.is_descending else "ASC"
    text, number = f"{alias}.text", f"{alias}.number"
    expressions: tuple[str, ...]
    tests: tuple[str, ...]
    index: str | None
    match asked:
        case Metric():
            key, column = conditions.metric(asked)
            value = f"{alias}.{column}"
            table, expressions = METRIC, (value,)
            tests = (f"{value} IS NOT NULL", f"{value} IS NULL")  # NaN
            index = "metric_by_key" if column == "last" else None
        case Param(name):
            table, key, index = PARAM, conditions.key(PARAM, name), "param_by_key"
            expressions = (number, text)
            tests = (f"{number} IS NOT NULL", f"{number} IS NULL")
        case Tag(name) if not is_told(name):
            table, key, index = TAG, conditions.key(TAG, name), "tag_by_key"
            expressions, tests = (text,), (f"{text} IS NOT NULL",)
        case Tag() | Attribute():
            value = conditions.tag(asked.key) if isinstance(asked, Tag) else conditions.column(asked)
            is_known = asked == Attribute("start_time")  # of every run
            return OrderKey((value,), direction, tests=() if is_known else (f"{value} IS NOT NULL",))
        case _:
            raise TypeError(f"runs have no order by {asked}")
    walked = index if index and conditions.has_index(index) else None
    return OrderKey(expressions, direction, alias, f"{schema}.{table}", key, tests, walked)

"""A search as one SQL statement: a query and terms to order by, over the index's tables in one or more schemas.

Three ways lead to the first runs of an order, and which is the shortest depends on how many runs a filter lets
through, so the index is asked for that first, by counts that stop at `_FEW`:

- few: the runs that the rarest part of the filter lets through, by its index, are looked at and sorted;
- many: the index that has the order is walked, and each run on the way is looked at until there are enough;
- where no index has the order, or no limit was set, all runs are looked at and sorted.

Figures, 100,000 runs of 5 metrics and 5 params: a probe by primary key 0.7 µs, so looking at all runs 70-150 ms; a
count up to 5,000 0.3 ms; 5,000 runs by an index, filtered and sorted 17 ms.
"""

from __future__ import annotations

import functools
import json
import operator as py_operator
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gittrack.schema.query import And, Or, OrderTerm, Query
from gittrack.schema.query_fields import Attribute
from gittrack.schema.records import Lifecycle
from gittrack.store.search_conditions import Conditions, Values
from gittrack.store.search_keys import OrderKey, order_key

_FEW = 5000
_LIMIT_MAX = 1 << 62  # more runs than there are; with an offset it still fits what SQLite counts with


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL and what its names are bound to.

    A row of a search is the schema and number of a run, its id, and what it was ordered by.
    """

    sql: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Scope:
    """Which runs of a connection a search is about.

    Attributes:
        schemas: databases of the index's tables; a run of one hides the run of that id in those before it.
        experiment_ids: only runs of these; all where None.
        lifecycle: only runs in this state; all where None.
    """

    schemas: Sequence[str] = ("main",)
    experiment_ids: Sequence[str] | None = None
    lifecycle: Lifecycle | None = "active"


def compile_search(
    connection: sqlite3.Connection,
    query: Query,
    order: Sequence[OrderTerm],
    scope: Scope,
    *,
    limit: int | None = None,
    offset: int = 0,
) -> Statement:
    """A statement whose rows are the runs a query is true of, in order: ties: newest start first, then by id.

    `register_functions` must have been called on the connection that runs it.
    """
    values = Values()
    arms = [_Arm(connection, scope, schema, values) for schema in scope.schemas]
    if limit is not None:
        limit = min(limit, _LIMIT_MAX)
    wanted = None if limit is None else limit + offset
    end = f"LIMIT {values.bind(-1 if limit is None else limit)} OFFSET {values.bind(offset)}"
    steps = [arm.steps(query, order, wanted) for arm in arms]
    if sum(map(len, steps)) == 1:
        return Statement(f"{steps[0][0].select} {end}", values.named)
    enough = values.bind(-1 if wanted is None else wanted)
    tables = [table for of_arm in steps for table in _take_in_turn(of_arm, enough)]
    rows = " UNION ALL ".join(f"SELECT * FROM {step.name}" for of_arm in steps for step in of_arm)
    directions = [way for key in arms[0].keys(order) for way in key.directions]
    # the columns are schema, number, id, what is ordered by, start
    places = ", ".join(f"{at} {way}" for at, way in enumerate([*directions, "DESC"], 4))
    return Statement(f"WITH {', '.join(tables)} {rows} ORDER BY {places}, 3 {end}", values.named)


def compile_count(connection: sqlite3.Connection, query: Query, scope: Scope) -> Statement:
    """The statement whose one row is the number of runs that a query is true of."""
    values = Values()
    counts = [f"({_Arm(connection, scope, schema, values).count(query)})" for schema in scope.schemas]
    return Statement(f"SELECT {' + '.join(counts)}", values.named)


def register_functions(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that a statement calls."""
    connection.create_function("gittrack_fold", 1, _fold, deterministic=True)
    connection.create_function("gittrack_version", 3, _compare_versions, deterministic=True)


@dataclass(frozen=True, slots=True)
class _Step:
    """A part of the rows, in order."""

    name: str
    select: str


class _Arm:
    """The runs of one schema."""

    def __init__(self, connection: sqlite3.Connection, scope: Scope, schema: str, values: Values) -> None:
        self._connection, self._scope, self._schema, self._values = connection, scope, schema, values
        self._conditions = Conditions(connection, scope.schemas, schema, values)

    def steps(self, query: Query, order: Sequence[OrderTerm], wanted: int | None) -> list[_Step]:
        """The SELECTs that give this schema's first rows, as many as are wanted."""
        keys, where = self.keys(order), self._where(query)
        few = self._find_few(query)
        if few is None and wanted is not None and self._conditions.has_index("run_by_start"):
            if not order or order[0].field == Attribute("start_time"):
                return [self._step(f"{self._schema}_all", f"{self._run} {self._by_start}", where, keys)]
            if keys[0].index:
                return self._walk(query, order, keys)
        if few is not None:
            where = f"r.no IN ({few}) AND {where}"
        return [self._step(f"{self._schema}_all", f"{self._run} NOT INDEXED", where, keys)]

    def count(self, query: Query) -> str:
        """The SELECT that counts."""
        few, where = self._find_few(query), self._where(query)
        if few is not None:
            where = f"r.no IN ({few}) AND {where}"
        return f"SELECT count(*) FROM {self._run} WHERE {where}"

    def keys(self, order: Sequence[OrderTerm]) -> list[OrderKey]:
        """What each term orders by."""
        return [order_key(term, f"o{at}", self._conditions, self._schema) for at, term in enumerate(order)]

    @property
    def _run(self) -> str:
        return f"{self._schema}.run r"

    @property
    def _by_start(self) -> str:
        one = self._scope.experiment_ids is not None and len(self._scope.experiment_ids) == 1
        return f"INDEXED BY {'run_by_experiment' if one else 'run_by_start'}"

    def _where(self, query: Query) -> str:
        schemas, bind = list(self._scope.schemas), self._values.bind
        conditions = [
            f"NOT EXISTS (SELECT 1 FROM {later}.run h WHERE h.id = r.id)"
            for later in schemas[schemas.index(self._schema) + 1 :]
        ]
        if self._scope.lifecycle is not None:
            conditions.append(f"r.lifecycle = {bind(self._scope.lifecycle)}")
        if self._scope.experiment_ids is not None:
            conditions.append(self._in_experiments(self._scope.experiment_ids))
        return " AND ".join([*conditions, self._conditions.of(query)])

    def _in_experiments(self, ids: Sequence[str]) -> str:
        if len(ids) == 1:
            return f"r.experiment_id = {self._values.bind(ids[0])}"
        return f"r.experiment_id IN (SELECT value FROM json_each({self._values.bind(json.dumps([*ids]))}))"

    def _walk(self, query: Query, order: Sequence[OrderTerm], keys: list[OrderKey]) -> list[_Step]:
        """A step for each group of runs by the first key's tests, and one for those that lack it."""
        first, rest = keys[0], keys[1:]
        parts = query.parts if isinstance(query, And) else (query,)
        # what the filter asks of the very rows that are walked bounds the walk
        bounds = [bound for part in parts if (bound := self._conditions.bound(part, order[0].field, first.alias))]
        where = self._where(query)
        steps: list[_Step] = []
        for rank, test in enumerate(first.tests):
            table = f"{first.table} {first.alias} INDEXED BY {first.index} CROSS JOIN {self._run}"
            rows = [f"{first.alias}.key = {first.key}", test, *bounds, f"r.no = {first.alias}.run"]
            group = OrderKey((f"{rank}", *first.expressions), first.direction)
            steps.append(self._step(f"{self._schema}_{rank}", table, " AND ".join([*rows, where]), [group, *rest]))
        if bounds:
            return steps  # of a run that lacks the key they do not hold
        lacking = f"NOT EXISTS (SELECT 1 FROM {first.table} n WHERE n.run = r.no AND n.key = {first.key})"
        group = OrderKey((f"{len(first.tests)}", *("NULL" for _ in first.expressions)), first.direction)
        runs = f"{self._run} {self._by_start}"
        return [*steps, self._step(f"{self._schema}_lacking", runs, f"{lacking} AND {where}", [group, *rest])]

    def _step(self, name: str, table: str, where: str, keys: list[OrderKey]) -> _Step:
        head = [f"'{self._schema}' AS place", "r.no AS no", "r.id AS id"]
        columns = [*head, *(c for key in keys for c in key.columns), "r.started_at"]
        joins = "".join(key.join for key in keys)
        ordering = [
            f"{column} {direction}"
            for key in keys
            for column, direction in zip(key.columns, key.directions, strict=True)
            if not _CONSTANT.fullmatch(column)  # an integer there would be the place of a column
        ]
        ties = ["r.started_at DESC", "r.id"]
        if any(key.expressions == ("r.started_at",) for key in keys):
            ties = ["r.id"]
        select = f"SELECT {', '.join(columns)} FROM {table}{joins} WHERE {where}"
        return _Step(name, f"{select} ORDER BY {', '.join([*ordering, *ties])}")

    def _find_few(self, query: Query) -> str | None:
        """A SELECT of the numbers of all runs that the query can be true of, where an index gives it and few."""
        if not self._conditions.has_index("run_by_start"):
            return None
        found = [self._find_rarest(query)]
        ids = self._scope.experiment_ids
        if ids is not None:
            # each id counts for itself: an index serves it
            found.append(self._count(f"SELECT no FROM {self._run} WHERE {self._in_experiments(ids)}"))
        return min((one for one in found if one is not None), default=(0, None))[1]

    def _find_rarest(self, query: Query) -> tuple[int, str] | None:
        match query:
            case And(parts):
                found = [one for part in parts if (one := self._find_rarest(part))]
                return min(found, default=None)
            case Or(parts):
                each = [self._find_rarest(part) for part in parts]
                known = [one for one in each if one is not None]
                count = sum(count for count, _ in known)
                if len(known) < len(each) or count >= _FEW:
                    return None
                return count, " UNION ALL ".join(source for _, source in known)
        source = self._conditions.source(query)
        return None if source is None else self._count(source)

    def _count(self, source: str) -> tuple[int, str] | None:
        """How many rows a source has, and itself, if they are few."""
        sql = f"SELECT count(*) FROM (SELECT 1 FROM ({source}) LIMIT {_FEW})"
        (count,) = self._connection.execute(sql, self._values.named).fetchone()
        return (count, source) if count < _FEW else None


_CONSTANT = re.compile(r"[0-9]+|NULL")


def _take_in_turn(steps: Sequence[_Step], enough: str) -> Iterator[str]:
    """Tables of the steps, each asked only for what the ones before it have not given."""
    left = enough
    for step in steps:
        yield f"{step.name} AS MATERIALIZED ({step.select} LIMIT {left})"
        left += f" - (SELECT count(*) FROM {step.name})"


def _fold(text: str | None) -> str | None:
    return None if text is None else text.casefold()


@functools.lru_cache(maxsize=1 << 16)
def _compare_versions(version: str | None, operator: str, value: str) -> bool | None:
    """Whether a version fits a value, as a specifier of PEP 440 says."""
    from packaging.specifiers import InvalidSpecifier, Specifier
    from packaging.version import InvalidVersion, Version

    if version is None:
        return None
    try:
        found = Version(version)
        sign = "==" if operator == "=" else operator
        try:
            return Specifier(f"{sign}{value}").contains(found, prereleases=True)
        except InvalidSpecifier:  # < and > take no local part
            return bool(_ORDERED[operator](found, Version(value)))
    except (InvalidVersion, KeyError):
        return version == value if operator == "=" else version != value if operator == "!=" else False


_ORDERED = {"<": py_operator.lt, "<=": py_operator.le, ">": py_operator.gt, ">=": py_operator.ge}

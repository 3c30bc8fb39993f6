"""The search language as SQL over the index's tables: one statement a question, every value bound.

Every condition is written so that it is true or false, never NULL: what a run lacks makes a comparison false.
Where runs in flight stand in a schema of their own, each schema has its arm, ordered and cut for itself.
"""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gittrack.schema.query import Both, Comparison, Condition, Either, Not, OrderTerm
from gittrack.schema.query_fields import Attribute, Dataset, Kind, Metric, Package, Param, Tag
from gittrack.schema.query_values import Value
from gittrack.store.index_tables import METRIC, PARAM, TAG


class Keys(Protocol):
    """The keys that the tables know."""

    def number(self, schema: str, kind: str, name: str) -> int:
        """The number of a key in a schema; -1 where there is none."""
        ...

    def knows_metric(self, name: str) -> bool:
        """Whether any run has a metric of that name."""
        ...


_COLUMNS = {
    "run_id": "r.id",
    "run_name": "r.name",
    "status": "r.status",
    "artifact_uri": "'runs:/' || r.id",
    "user_id": "r.user",
    "start_time": "r.started_at",
    "end_time": "r.ended_at",
    "duration": "(r.ended_at - r.started_at) / 1000.0",
    "experiment": "coalesce((SELECT e.name FROM main.experiment e WHERE e.id = r.experiment_id), r.experiment)",
    "experiment_id": "r.experiment_id",
    "host": "r.host",
    "parent": "r.parent",
    "note": "nullif(r.note, '')",
    "error": "nullif(r.error, '')",
    "revision": "r.revision",
    "commit": "r.commit_id",
    "lifecycle": "r.lifecycle",
    "live": "r.is_live",
    "code.commit": "r.code_commit",
    "code.branch": "r.branch",
    "code.dirty": "r.dirty",
    "source.name": "r.source_name",
    "source.kind": "r.source_kind",
    "command": "r.command",
    "python": "nullif(r.python, '')",
    "platform": "nullif(r.platform, '')",
}
# MLflow's own tags, made of what the record says; one that was set has the last word
_TOLD_TAGS = {
    "mlflow.runName": "r.name",
    "mlflow.user": "r.user",
    "mlflow.note.content": "nullif(r.note, '')",
    "mlflow.parentRunId": "r.parent",
    "mlflow.source.name": "r.source_name",
    "mlflow.source.type": "r.source_kind",
    "mlflow.source.git.commit": "nullif(r.code_commit, '')",
    "mlflow.source.git.branch": "nullif(r.branch, '')",
    "mlflow.source.git.repoURL": "nullif(r.remote, '')",
}
_HEAD = ("place", "no", "id", "commit_id", "is_live")
_WHOLE = (1 << 63) - 1
_DIRECTIONS = {False: "ASC", True: "DESC"}


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL and the values bound to its ``?``, in order."""

    sql: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which runs a statement is about, before any filter."""

    schemas: tuple[str, ...] = ("main",)
    experiment_ids: tuple[str, ...] | None = None
    lifecycle: str | None = None


def register_functions(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that the statements call."""
    connection.create_function("gittrack_ilike", 2, _is_like, deterministic=True)
    connection.create_function("gittrack_version", 3, _fits_version, deterministic=True)


def compile_search(
    condition: Condition | None,
    order: Sequence[OrderTerm],
    scope: Scope,
    keys: Keys,
    *,
    limit: int | None = None,
    offset: int = 0,
) -> Statement:
    """A statement that gives of each run that fits its schema, number, id, commit and whether it is in flight.

    In order; what the terms leave equal comes newest start first, then by id.
    """
    count, values = len(_terms(order, scope.schemas[0], keys)), list[Value]()
    by_key = _order_by(_terms(order, scope.schemas[0], keys))
    arms = []
    for schema in scope.schemas:
        where = _where(condition, scope, schema, keys, is_driving=True)
        arm = _arm(f"{schema}.run r", where, _terms(order, schema, keys), schema)
        arms.append(f"{arm.sql} ORDER BY {by_key}")
        values += arm.values
        if limit is not None and len(scope.schemas) > 1:
            arms[-1] += " LIMIT ?"
            values.append(min(limit + offset, _WHOLE))
    sql = arms[0]
    if len(arms) > 1:
        head = ", ".join([*_HEAD, *(f"k{at}" for at in range(count))])
        merged = " UNION ALL ".join(f"SELECT * FROM ({arm})" for arm in arms)
        sql = f"SELECT {head} FROM ({merged}) ORDER BY {by_key}"
    return Statement(f"{sql} LIMIT ? OFFSET ?", (*values, _WHOLE if limit is None else limit, offset))


def compile_first(
    condition: Condition | None, order: Sequence[OrderTerm], scope: Scope, keys: Keys, looked_at: int
) -> Statement | None:
    """As `compile_search`, but of the first few runs in the order only, as an index has them.

    None where no index has the order. The last column is what the first of those that were not looked at is
    ordered by, NULL where there is none: what equals it in that is not yet in its order.
    """
    first = order[0] if order else OrderTerm(Attribute("start_time"), True)
    if len(scope.schemas) > 1:
        return None
    (schema,), direction = scope.schemas, _DIRECTIONS[first.is_descending]
    if isinstance(first.field, Metric) and _meant(first.field, keys).part == "last":
        column, number = "last", "run"
        key = keys.number(schema, METRIC, _meant(first.field, keys).key)
        few = f"FROM {schema}.metric INDEXED BY metric_by_key WHERE key = {key} AND last IS NOT NULL"
    elif first.field == Attribute("start_time"):
        column, number = "started_at", "no"
        few = f"FROM {schema}.run INDEXED BY run_by_start"
    else:
        return None
    few += f" ORDER BY {column} {direction}"
    source = f"(SELECT {number} AS looked {few} LIMIT {looked_at}) CROSS JOIN {schema}.run r ON r.no = looked"
    terms = _terms(order, schema, keys)
    where = _where(condition, scope, schema, keys, is_driving=False)
    arm = _arm(source, where, terms, schema, f"(SELECT {column} {few} LIMIT 1 OFFSET {looked_at})")
    return Statement(f"{arm.sql} ORDER BY {_order_by(terms)}", arm.values)


def compile_count(condition: Condition | None, scope: Scope, keys: Keys) -> Statement:
    """A statement that counts the runs that fit."""
    wheres = [_where(condition, scope, schema, keys, is_driving=True) for schema in scope.schemas]
    arms = [
        f"(SELECT count(*) FROM {schema}.run r WHERE {where.sql})"
        for schema, where in zip(scope.schemas, wheres, strict=True)
    ]
    return Statement(f"SELECT {' + '.join(arms)}", tuple(value for where in wheres for value in where.values))


def _arm(source: str, where: Statement, terms: Sequence[_Term], schema: str, *more: str) -> Statement:
    keys = [f"{term.sql} AS k{at}" for at, term in enumerate(terms)]
    head = f"SELECT '{schema}' AS place, r.no AS no, r.id AS id, r.commit_id AS commit_id, r.is_live AS is_live"
    return Statement(
        f"{', '.join([head, *keys, *more])} FROM {source} WHERE {where.sql}", (*_term_values(terms), *where.values)
    )


def _where(condition: Condition | None, scope: Scope, schema: str, keys: Keys, *, is_driving: bool) -> Statement:
    """What a run must fit; ``is_driving`` where it also leads to the runs, rather than being asked of each."""
    parts = []
    if "live" in scope.schemas and schema != "live":
        parts.append(Statement("r.id NOT IN (SELECT id FROM live.run)", ()))
    if scope.lifecycle is not None:
        parts.append(Statement("r.lifecycle = ?", (scope.lifecycle,)))
    if scope.experiment_ids is not None:
        marks = ", ".join("?" * len(scope.experiment_ids))
        parts.append(Statement(f"r.experiment_id IN ({marks})", scope.experiment_ids))
    if condition is not None:
        parts.append(_Compiler(schema, keys, is_driving).compile(condition))
    return _joined(parts, "AND") if parts else Statement("1", ())


def _joined(parts: Sequence[Statement], word: str) -> Statement:
    sql = f" {word} ".join(f"({part.sql})" for part in parts)
    return Statement(sql, tuple(value for part in parts for value in part.values))


class _Compiler:
    """Conditions as SQL about the row ``r`` of a schema's table of runs."""

    def __init__(self, schema: str, keys: Keys, is_driving: bool) -> None:
        self._schema = schema
        self._keys = keys
        self._is_driving = is_driving

    def compile(self, condition: Condition) -> Statement:
        if isinstance(condition, Both):
            return _joined([self.compile(part) for part in condition.parts], "AND")
        if isinstance(condition, Either):
            return _joined([self.compile(part) for part in condition.parts], "OR")
        if isinstance(condition, Not):
            inner = self.compile(condition.part)
            return Statement(f"NOT ({inner.sql})", inner.values)
        return self._compare(condition)

    def _compare(self, comparison: Comparison) -> Statement:
        field = comparison.field
        if isinstance(field, Metric):
            return self._metric(_meant(field, self._keys), comparison)
        if isinstance(field, Param):
            return self._keyed(PARAM, field.key, _param(comparison), comparison)
        if isinstance(field, Tag) and field.key not in _TOLD_TAGS:
            return self._keyed(TAG, field.key, _text("text", comparison), comparison)
        if isinstance(field, Tag):
            told = f"coalesce({self._set_tag(field.key)}, {_TOLD_TAGS[field.key]})"
            return _two_valued(_text(told, comparison), comparison, told)
        if isinstance(field, Dataset):
            return self._dataset(field, comparison)
        if isinstance(field, Package):
            return self._package(field, comparison)
        return _attribute(field, comparison)

    def _metric(self, field: Metric, comparison: Comparison) -> Statement:
        column = field.part
        if comparison.operator == "!=":  # NaN stands as NULL, and is unequal to everything
            tested = Statement(f"{column} IS NULL OR {column} != ?", comparison.values)
        else:
            tested = _number(column, comparison)
        return self._keyed(METRIC, field.key, tested, comparison)

    def _keyed(self, table: str, key: str, tested: Statement, comparison: Comparison) -> Statement:
        """What a table by key has of the run, tested; found by the key, or looked up for the run at hand."""
        number = self._keys.number(self._schema, table, key)
        is_absent = comparison.operator == "IS NULL"
        where = f"key = {number}" if is_absent else f"key = {number} AND ({tested.sql})"
        values = () if is_absent else tested.values
        if self._is_driving:
            sql = f"r.no IN (SELECT run FROM {self._schema}.{table} WHERE {where})"
        else:
            sql = f"EXISTS (SELECT 1 FROM {self._schema}.{table} WHERE run = r.no AND {where})"
        return Statement(f"NOT {sql}" if is_absent else sql, values)

    def _dataset(self, field: Dataset, comparison: Comparison) -> Statement:
        found = f"SELECT run FROM {self._schema}.dataset WHERE {field.part} != ''"
        if comparison.operator == "IS NULL":
            return Statement(f"r.no NOT IN ({found})", ())
        tested = _text(field.part, comparison)
        return Statement(f"r.no IN ({found} AND ({tested.sql}))", tested.values)

    def _package(self, field: Package, comparison: Comparison) -> Statement:
        found = f"SELECT environment FROM {self._schema}.package WHERE name = ?"
        if comparison.operator == "IS NULL":
            return Statement(f"r.environment IS NULL OR r.environment NOT IN ({found})", (field.name,))
        tested = _version("version", comparison)
        return Statement(
            f"r.environment IS NOT NULL AND r.environment IN ({found} AND ({tested.sql}))",
            (field.name, *tested.values),
        )

    def _set_tag(self, key: str) -> str:
        number = self._keys.number(self._schema, TAG, key)
        return f"(SELECT t.text FROM {self._schema}.tag t WHERE t.run = r.no AND t.key = {number})"


def _attribute(field: Attribute, comparison: Comparison) -> Statement:
    column = _COLUMNS[field.name]
    if comparison.operator == "IS NULL":
        return Statement(f"{column} IS NULL", ())
    if field.kind is Kind.TEXT:
        tested = _text(column, comparison)
    elif field.kind is Kind.VERSION:
        tested = _version(column, comparison)
    elif field.kind is Kind.COMMIT:
        tested = _commit(column, comparison)
    else:
        tested = _number(column, comparison)
    return _two_valued(tested, comparison, column)


def _two_valued(tested: Statement, comparison: Comparison, column: str) -> Statement:
    if comparison.operator == "IS NULL":
        return Statement(f"{column} IS NULL", ())
    return Statement(f"coalesce({tested.sql}, 0)", tested.values)


def _number(column: str, comparison: Comparison) -> Statement:
    if comparison.operator == "IN":
        return Statement(f"{column} IN ({', '.join('?' * len(comparison.values))})", comparison.values)
    return Statement(f"{column} {comparison.operator} ?", comparison.values)


def _text(column: str, comparison: Comparison) -> Statement:
    values = comparison.values
    if comparison.operator == "LIKE":
        return Statement(f"{column} GLOB ?", (_glob(str(values[0])),))
    if comparison.operator == "ILIKE":
        return Statement(f"gittrack_ilike({column}, ?)", values)
    return _number(column, comparison)


def _param(comparison: Comparison) -> Statement:
    """A param compared as what stands to the right: text, a number, true or false."""
    if comparison.operator == "IN":
        ones = [_param(Comparison(comparison.field, "=", (value,))) for value in comparison.values]
        return _joined(ones, "OR")
    if not comparison.values:
        return Statement("1", ())
    (value,) = comparison.values
    if isinstance(value, bool):
        return Statement(f"type = 'bool' AND text {comparison.operator} ?", (str(value),))
    if isinstance(value, str):
        return _text("text", comparison)
    return Statement(f"number IS NOT NULL AND number {comparison.operator} ?", (value,))


def _commit(column: str, comparison: Comparison) -> Statement:
    """A commit compared by its beginning."""
    ones = _joined([Statement(f"{column} GLOB ?", (f"{value}*",)) for value in comparison.values], "OR")
    return Statement(f"NOT ({ones.sql})", ones.values) if comparison.operator == "!=" else ones


def _version(column: str, comparison: Comparison) -> Statement:
    if comparison.operator in ("LIKE", "ILIKE"):
        return _text(column, comparison)
    operator = "=" if comparison.operator == "IN" else comparison.operator
    ones = [Statement(f"gittrack_version({column}, '{operator}', ?)", (value,)) for value in comparison.values]
    return _joined(ones, "OR") if ones else Statement("1", ())


@dataclass(frozen=True, slots=True)
class _Term:
    """One expression to order by."""

    sql: str
    direction: str
    values: tuple[Value, ...] = ()


def _terms(order: Sequence[OrderTerm], schema: str, keys: Keys) -> list[_Term]:
    terms = [term for part in order for term in _order_terms(part, schema, keys)]
    return [*terms, _Term("r.started_at", "DESC"), _Term("r.id", "ASC")]


def _order_terms(term: OrderTerm, schema: str, keys: Keys) -> list[_Term]:
    """What is missing last, NaN before it, whichever the direction; then the values."""
    field, direction = term.field, _DIRECTIONS[term.is_descending]

    def found(table: str, name: str, column: str) -> str:
        number = keys.number(schema, table, name)
        return f"(SELECT {column} FROM {schema}.{table} v WHERE v.run = r.no AND v.key = {number})"

    if isinstance(field, Metric):
        meant = _meant(field, keys)
        # NaN stands as NULL: only a row that is there tells it from what is missing
        rank = found(METRIC, meant.key, f"{meant.part} IS NULL")
        return [_Term(f"coalesce({rank}, 2)", "ASC"), _Term(found(METRIC, meant.key, meant.part), direction)]
    if isinstance(field, Param):  # numbers by value, and behind them text
        rank = found(PARAM, field.key, "number IS NULL")
        value = found(PARAM, field.key, "coalesce(number, text)")
        return [_Term(f"coalesce({rank}, 2)", "ASC"), _Term(value, direction)]
    values: tuple[Value, ...] = ()
    if isinstance(field, Tag):
        sql = f"coalesce({found(TAG, field.key, 'text')}, {_TOLD_TAGS.get(field.key, 'NULL')})"
    elif isinstance(field, Dataset):
        sql = f"(SELECT min({field.part}) FROM {schema}.dataset d WHERE d.run = r.no)"
    elif isinstance(field, Package):
        sql = f"(SELECT version FROM {schema}.package p WHERE p.environment = r.environment AND p.name = ?)"
        values = (field.name,)
    else:
        sql = _COLUMNS[field.name]
    return [_Term(f"{sql} IS NULL", "ASC", values), _Term(sql, direction, values)]


def _term_values(terms: Sequence[_Term]) -> tuple[Value, ...]:
    return tuple(value for term in terms for value in term.values)


def _order_by(terms: Sequence[_Term]) -> str:
    return ", ".join(f"k{at} {term.direction}" for at, term in enumerate(terms))


def _meant(field: Metric, keys: Keys) -> Metric:
    """What ``metrics.loss.min`` means: the metric of that name where there is one, as in MLflow."""
    if field.plain is not None and keys.knows_metric(field.plain):
        return Metric(field.plain)
    return field


def _glob(pattern: str) -> str:
    """A pattern of LIKE as one of SQLite's GLOB, which minds upper and lower case."""
    return re.sub(r"[*?\[]", r"[\g<0>]", pattern).replace("%", "*").replace("_", "?")


def _is_like(text: str | None, pattern: str) -> bool:
    return text is not None and _ilike(pattern)(text) is not None


@functools.lru_cache(maxsize=64)
def _ilike(pattern: str) -> Callable[[str], re.Match[str] | None]:
    written = "".join({"%": ".*", "_": "."}.get(char) or re.escape(char) for char in pattern)
    return re.compile(written, re.DOTALL | re.IGNORECASE).fullmatch


@functools.lru_cache(maxsize=1 << 14)
def _fits_version(version: str | None, operator: str, wanted: str) -> bool:
    """Whether a version compares so with another, by PEP 440; as text where either is none."""
    from packaging.specifiers import InvalidSpecifier, Specifier
    from packaging.version import InvalidVersion

    if version is None:
        return False
    try:
        sign = "==" if operator == "=" else operator
        return Specifier(f"{sign}{wanted}").contains(version, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return {"=": version == wanted, "!=": version != wanted}.get(operator, False)

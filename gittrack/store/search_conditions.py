"""A query's parts as SQL: what must hold of the run ``r`` of one schema, each value of the user's bound.

Every condition is 0 or 1, never NULL, so that NOT means what the search language says. What stands in a table of
its own is probed by that table's primary key; a ``source`` names by an index all runs that a part is true of.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from gittrack.schema import query as ql
from gittrack.schema.query_fields import Attribute, Dataset, Field, Kind, Metric, Package, Param, Tag
from gittrack.store.index_tables import METRIC, PARAM, TAG, number_of

_COLUMNS = {
    "run_id": "r.id",
    "run_name": "nullif(r.name, '')",
    "status": "r.status",
    "artifact_uri": "'runs:/' || r.id",
    "user_id": "nullif(r.user, '')",
    "start_time": "r.started_at",
    "end_time": "r.ended_at",
    "duration": "(r.ended_at - r.started_at) / 1000.0",
    "experiment_id": "r.experiment_id",
    "host": "nullif(r.host, '')",
    "parent": "nullif(r.parent, '')",
    "note": "nullif(r.note, '')",
    "error": "nullif(r.error, '')",
    "revision": "r.revision",
    "commit": "r.commit_id",
    "lifecycle": "r.lifecycle",
    "live": "r.is_live",
    "code.commit": "nullif(r.code_commit, '')",
    "code.branch": "nullif(r.branch, '')",
    "code.dirty": "r.dirty",
    "source.name": "nullif(r.source_name, '')",
    "source.kind": "nullif(r.source_kind, '')",
    "command": "nullif(r.command, '')",
    "python": "nullif(r.python, '')",
    "platform": "nullif(r.platform, '')",
}
# the tags that `gittrack.tracking.entities.run_data` makes of a record
_TOLD_TAGS = {
    "mlflow.runName": "r.name",
    "mlflow.user": "r.user",
    "mlflow.note.content": "nullif(r.note, '')",
    "mlflow.parentRunId": "nullif(r.parent, '')",
    "mlflow.source.name": "r.source_name",
    "mlflow.source.type": "r.source_kind",
    "mlflow.source.git.commit": "nullif(r.code_commit, '')",
    "mlflow.source.git.branch": "nullif(r.branch, '')",
    "mlflow.source.git.repoURL": "nullif(r.remote, '')",
}
_SOURCES_MAX = 20  # values of a list that an index is asked for one by one
_BOOL_TEXTS = {True: ("true", "True", "TRUE"), False: ("false", "False", "FALSE")}


@dataclass(slots=True)
class Values:
    """The bound values of one statement by their names; the same value is bound once."""

    named: dict[str, object] = field(default_factory=dict)
    _names: dict[tuple[type, object], str] = field(default_factory=dict)

    def bind(self, value: object) -> str:
        name = self._names.get((type(value), value))
        if name is None:
            name = self._names[type(value), value] = f"v{len(self._names)}"
            self.named[name] = int(value) if isinstance(value, bool) else value
        return f":{name}"

    def bind_all(self, values: Sequence[object]) -> str:
        return f"({', '.join(map(self.bind, values))})"


class Conditions:
    """Writes conditions on the run ``r`` of one schema of a connection."""

    def __init__(
        self, connection: sqlite3.Connection, schemas: Sequence[str], schema: str, values: Values
    ) -> None:
        self._connection, self._schemas, self._schema = connection, schemas, schema
        self._values = values

    def of(self, query: ql.Query) -> str:
        """The condition that a query sets."""
        match query:
            case ql.And(parts):
                return f"({' AND '.join(map(self.of, parts))})" if parts else "1"
            case ql.Or(parts):
                return f"({' OR '.join(map(self.of, parts))})"
            case ql.Not(part):
                return f"NOT {self.of(part)}"
            case ql.IsNull(asked):
                return self._is_null(asked)
            case _:
                return self._holds(query)

    def source(self, query: ql.Query) -> str | None:
        """A SELECT of the numbers of all runs of which a leaf is true, by an index; None where none serves it."""
        match query:
            case ql.Comparison(_, "!=") | ql.Between(_, _, _, True) | ql.OneOf(_, _, True):
                return None
            case ql.OneOf(asked, values) if len(values) <= _SOURCES_MAX:
                found = [self.source(ql.Comparison(asked, "=", value)) for value in values]
                sources = [source for source in found if source]
                return " UNION ALL ".join(sources) if len(sources) == len(found) else None
            case ql.Comparison() | ql.Between() | ql.Like(_, _, _, False):
                return self._source_of(query)
        return None

    def bound(self, query: ql.Query, asked: Field, alias: str) -> str | None:
        """What a leaf asks of a metric's or a param's row ``alias``; None where it asks of another."""
        if isinstance(query, ql.Comparison | ql.Between | ql.OneOf | ql.Like) and query.field == asked:
            if isinstance(asked, Metric):
                return self._test(query, f"{alias}.{self.metric(asked)[1]}", is_real=True)
            if isinstance(asked, Param):
                return self._test_param(query, f"{alias}.")
        return None

    def has_index(self, name: str) -> bool:
        """Whether the schema has an index: runs in flight, which are few, may stand in tables without."""
        sql = f"SELECT 1 FROM {self._schema}.sqlite_master WHERE type = 'index' AND name = ?"
        return self._connection.execute(sql, (name,)).fetchone() is not None

    def _source_of(self, query: ql.Comparison | ql.Between | ql.Like) -> str | None:
        match query.field:
            case Attribute("run_id" | "start_time") as asked:
                test = self._test(query, _COLUMNS[asked.name])
                return f"SELECT no FROM {self._schema}.run r WHERE {test}"
            case Metric() as asked:
                key, column = self.metric(asked)
                if column == "last":
                    return self._source_by_key(METRIC, key, self._test(query, "last", is_real=True))
            case Param(name):
                found = self._indexed_param(query)
                return self._source_by_key(PARAM, self.key(PARAM, name), found) if found else None
            case Tag(name) if name not in _TOLD_TAGS:
                return self._source_by_key(TAG, self.key(TAG, name), self._test(query, "text"))
        return None

    def _source_by_key(self, table: str, key: str, test: str) -> str:
        return f"SELECT run FROM {self._schema}.{table} WHERE key = {key} AND {test}"

    def _indexed_param(self, query: ql.Comparison | ql.Between | ql.Like) -> str | None:
        """A param's comparison as its index by (key, number, text) serves it; None where it does not."""
        test = self._test_param(query, "")
        match query:
            case ql.Comparison(_, _, str() as text):
                number = number_of(text)
                if number is not None and math.isinf(number):  # an int of that many digits has no number
                    return None
                return f"number {'IS NULL' if number is None else f'= {self._values.bind(number)}'} AND {test}"
            case ql.Comparison(_, _, bool()):
                return f"number IS NULL AND {test}"
        return test

    def key(self, kind: str, name: str) -> str:
        """The number of a key, bound; 0, which no row has, where no run of the schema has the key."""
        found = self._connection.execute(
            f"SELECT no FROM {self._schema}.key WHERE kind = ? AND name = ?", (kind, name)
        ).fetchone()
        return self._values.bind(found[0] if found else 0)

    def column(self, attribute: Attribute) -> str:
        """What an attribute is of ``r``; NULL where the run lacks it."""
        if attribute.name != "experiment":
            return _COLUMNS[attribute.name]
        shown = [f"(SELECT name FROM {schema}.experiment WHERE id = r.experiment_id)" for schema in self._schemas]
        return f"coalesce({', '.join(shown)}, r.experiment)"

    def tag(self, name: str) -> str:
        """What a tag is of ``r``; NULL where the run lacks it."""
        own = f"(SELECT t.text FROM {self._schema}.tag t WHERE t.run = r.no AND t.key = {self.key(TAG, name)})"
        return f"coalesce({own}, {_TOLD_TAGS[name]})" if name in _TOLD_TAGS else own

    def metric(self, asked: Metric) -> tuple[str, str]:
        """The bound key and the column that a metric's part is read from."""
        if asked.plain is not None and self._knows_metric(asked.plain):
            return self.key(METRIC, asked.plain), "last"
        return self.key(METRIC, asked.key), asked.part

    def _knows_metric(self, name: str) -> bool:
        return any(
            self._connection.execute(
                f"SELECT 1 FROM {schema}.key k WHERE kind = ? AND name = ? AND EXISTS (SELECT 1 FROM "
                f"{schema}.metric m WHERE m.key = k.no)",
                (METRIC, name),
            ).fetchone()
            for schema in self._schemas
        )

    def _is_null(self, asked: Field) -> str:
        match asked:
            case Attribute():
                return f"({self.column(asked)} IS NULL)"
            case Tag(name):
                return f"({self.tag(name)} IS NULL)"
            case Dataset(part):
                return f"NOT EXISTS (SELECT 1 FROM {self._schema}.dataset d WHERE d.run = r.no AND d.{part} != '')"
            case Package(name):
                return f"NOT {self._in_environment(name, '1')}"
            case Metric():
                return f"NOT {self._in_table(METRIC, self.metric(asked)[0], '1')}"
            case Param(name):
                return f"NOT {self._in_table(PARAM, self.key(PARAM, name), '1')}"

    def _holds(self, query: ql.Leaf) -> str:
        match query.field:
            case Attribute() as asked:
                return f"coalesce({self._test(query, self.column(asked))}, 0)"
            case Tag(name):
                if name in _TOLD_TAGS:
                    return f"coalesce({self._test(query, self.tag(name))}, 0)"
                return self._in_table(TAG, self.key(TAG, name), self._test(query, "t.text"))
            case Dataset(part):
                test = self._test(query, f"nullif(d.{part}, '')")
                return f"EXISTS (SELECT 1 FROM {self._schema}.dataset d WHERE d.run = r.no AND {test})"
            case Package(name):
                return self._in_environment(name, self._test(query, "version"))
            case Metric() as asked:
                key, column = self.metric(asked)
                test = self._test(query, f"t.{column}", is_real=column not in ("count", "last_step"))
                return self._in_table(METRIC, key, test)
            case Param(name):
                return self._in_table(PARAM, self.key(PARAM, name), self._test_param(query, "t."))

    def _in_table(self, table: str, key: str, test: str) -> str:
        return f"EXISTS (SELECT 1 FROM {self._schema}.{table} t WHERE t.run = r.no AND t.key = {key} AND {test})"

    def _in_environment(self, name: str, test: str) -> str:
        # once for each environment, of which there are far fewer than runs
        table, bound = f"{self._schema}.package", self._values.bind(name)
        return f"coalesce(r.environment IN (SELECT environment FROM {table} WHERE name = {bound} AND {test}), 0)"

    def _test_param(self, query: ql.Leaf, prefix: str) -> str:
        text, number = f"{prefix}text", f"{prefix}number"
        match query:
            case ql.Comparison(_, operator, bool() as value):
                return f"{text} {'NOT ' * (operator == '!=')}IN {self._values.bind_all(_BOOL_TEXTS[value])}"
            case ql.Comparison(_, _, int() | float()) | ql.Between():
                return self._test(query, number, is_real=True)
            case ql.OneOf(asked, values, is_negated):
                join, operator = (" AND ", "!=") if is_negated else (" OR ", "=")
                tests = [
                    self._test_param(ql.Comparison(asked, operator, value), prefix)
                    for value in values
                    if not isinstance(value, str)
                ]
                texts = [value for value in values if isinstance(value, str)]
                tests += [f"{text} {'NOT ' * is_negated}IN {self._values.bind_all(texts)}"] * bool(texts)
                return f"({join.join(tests)})"
        return self._test(query, text)

    def _test(self, query: ql.Leaf, subject: str, is_real: bool = False) -> str:
        """The comparison of one value: 0 or NULL where that is NULL, unless it is a real: such a NULL is NaN."""
        if isinstance(query, ql.Like):
            return self._test_like(query, subject)
        if query.field.kind in (Kind.COMMIT, Kind.VERSION):
            return self._test_each(query, subject)
        match query:
            case ql.Comparison(_, operator, value):
                sign = "IS NOT" if is_real and operator == "!=" else operator
                return f"{subject} {sign} {self._number(value, is_real)}"
            case ql.Between(_, low, high, is_negated):
                first, second = self._number(low, is_real), self._number(high, is_real)
                if is_negated:
                    return f"({subject} < {first} OR {subject} > {second})"
                return f"({subject} >= {first} AND {subject} <= {second})"
            case ql.OneOf(_, values, is_negated):
                listed = f"({', '.join(self._number(value, is_real) for value in values)})"
                if is_negated and is_real:
                    return f"({subject} IS NULL OR {subject} NOT IN {listed})"
                return f"{subject} {'NOT ' * is_negated}IN {listed}"

    def _number(self, value: object, is_real: bool) -> str:
        return self._values.bind(float(value) if is_real and isinstance(value, int) else value)

    def _test_like(self, query: ql.Like, subject: str) -> str:
        pattern = _to_glob(query.pattern if query.is_case_sensitive else query.pattern.casefold())
        text = subject if query.is_case_sensitive else f"gittrack_fold({subject})"
        return f"{text} {'NOT ' * query.is_negated}GLOB {self._values.bind(pattern)}"

    def _test_each(self, query: ql.Comparison | ql.Between | ql.OneOf, subject: str) -> str:
        def test(operator: str, value: object) -> str:
            bound = self._values.bind(value)
            if query.field.kind is Kind.VERSION:
                return f"gittrack_version({subject}, {self._values.bind(operator)}, {bound})"
            # 'g' comes after every hex digit
            return f"{'NOT ' * (operator == '!=')}({subject} >= {bound} AND {subject} < {bound} || 'g')"

        match query:
            case ql.Comparison(_, operator, value):
                return test(operator, value)
            case ql.Between(_, low, high, is_negated):
                if is_negated:
                    return f"({test('<', low)} OR {test('>', high)})"
                return f"({test('>=', low)} AND {test('<=', high)})"
            case ql.OneOf(_, values, is_negated):
                join, operator = (" AND ", "!=") if is_negated else (" OR ", "=")
                return f"({join.join(test(operator, value) for value in values)})"


def is_told(tag: str) -> bool:
    """Whether a run has the tag even where it was never set."""
    return tag in _TOLD_TAGS


def _to_glob(pattern: str) -> str:
    """A pattern of LIKE as GLOB writes it, which heeds the case and stands in no need of an escape character."""
    return "".join(_GLOBS.get(char, char) for char in pattern)


_GLOBS = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}

"""`search_runs`: MLflow's arguments and defaults, over gittrack's search language."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, overload

from gittrack.errors import InvalidValueError
from gittrack.git.repository import Repository
from gittrack.schema.records import Lifecycle
from gittrack.store import experiments
from gittrack.store.index_answers import list_experiments_in_use
from gittrack.store.search import RunQuestion, search_columns
from gittrack.store.search import search_runs as find_runs
from gittrack.store.store import Store
from gittrack.tracking import settings
from gittrack.tracking.entities import Run, ViewType
from gittrack.tracking.frames import to_frame
from gittrack.tracking.run_lists import RunList

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger("gittrack")

PAGE_MAX = 50_000  # MLflow's

_LIFECYCLES: dict[int, Lifecycle | None] = {
    ViewType.ACTIVE_ONLY: "active",
    ViewType.DELETED_ONLY: "deleted",
    ViewType.ALL: None,
}


@overload
def search_runs(
    experiment_ids: Sequence[str] | None = ...,
    filter_string: str = ...,
    run_view_type: int = ...,
    max_results: int = ...,
    order_by: Sequence[str] | None = ...,
    output_format: Literal["pandas"] = ...,
    search_all_experiments: bool = ...,
    experiment_names: Sequence[str] | None = ...,
    *,
    typed: bool = ...,
) -> pd.DataFrame: ...


@overload
def search_runs(
    experiment_ids: Sequence[str] | None = ...,
    filter_string: str = ...,
    run_view_type: int = ...,
    max_results: int = ...,
    order_by: Sequence[str] | None = ...,
    *,
    output_format: Literal["list"],
    search_all_experiments: bool = ...,
    experiment_names: Sequence[str] | None = ...,
    typed: bool = ...,
) -> RunList: ...


def search_runs(
    experiment_ids: Sequence[str] | None = None,
    filter_string: str = "",
    run_view_type: int = ViewType.ACTIVE_ONLY,
    max_results: int = 100_000,
    order_by: Sequence[str] | None = None,
    output_format: Literal["pandas", "list"] = "pandas",
    search_all_experiments: bool = False,
    experiment_names: Sequence[str] | None = None,
    *,
    typed: bool = False,
) -> pd.DataFrame | RunList:
    """Runs that fit a filter, of the current experiment by default; newest first where no order is asked for.

    Args:
        filter_string: MLflow's filter, and more: ``or``, ``not``, parentheses, ``BETWEEN``, numbers for params,
            ``metrics.loss.min``, ``duration``, ``env.torch >= '2.1'``; see `gittrack.schema.query`.
        order_by: such as ``["metrics.acc DESC", "start_time"]``; NaN and what is missing come last.
        output_format: ``pandas`` gives a DataFrame: ``run_id, experiment_id, status, artifact_uri, start_time,
            end_time``, then ``metrics.*`` (last values, NaN where missing), ``params.*`` and ``tags.*`` (text,
            None where missing). ``list`` gives `Run` entities.
        typed: params in the DataFrame have the types that they were logged with.

    Raises:
        InvalidQueryError: the filter or the order cannot be read; it shows where.
        InvalidValueError: experiments are given by ids and by names, or the output format is another.
    """
    if output_format not in ("pandas", "list"):
        raise InvalidValueError(f"output_format is {output_format!r}", "it is 'pandas' or 'list'")
    store = settings.open_store()
    chosen = _choose(store, experiment_ids, experiment_names, search_all_experiments)
    asked = make_question(chosen, filter_string, run_view_type, order_by)
    question = replace(asked, limit=_check_count(max_results))
    if output_format == "list":
        runs, _ = find_runs(store.repository, question)
        return RunList(Run(stored.record) for stored in runs)
    columns, _ = search_columns(store.repository, question)
    return to_frame(columns, typed=typed)


def search_page(
    repository: Repository, question: RunQuestion, max_results: int, page_token: str | None
) -> RunList:
    """One page of the runs that a question asks for; its token asks for the next one.

    Raises:
        InvalidValueError: more than 50,000 are asked for at once, or the token is none.
    """
    if _check_count(max_results) > PAGE_MAX:
        raise InvalidValueError(f"max_results is {max_results}", f"a page holds {PAGE_MAX} runs at most")
    offset = _parse_token(page_token)
    runs, _ = find_runs(repository, replace(question, limit=max_results + 1, offset=offset))
    is_last = len(runs) <= max_results
    token = None if is_last else _format_token(offset + max_results)
    return RunList((Run(stored.record) for stored in runs[:max_results]), token)


def make_question(
    experiment_ids: Sequence[str], filter_string: str, run_view_type: int, order_by: Sequence[str] | None
) -> RunQuestion:
    """What MLflow's arguments ask for; a single id or term may stand for a list of one.

    Raises:
        InvalidValueError: one of them is of another kind.
    """
    if filter_string is not None and not isinstance(filter_string, str):
        raise InvalidValueError(f"filter_string is {filter_string!r}", "it is text, as in 'metrics.acc > 0.9'")
    if not isinstance(run_view_type, int) or run_view_type not in _LIFECYCLES:
        raise InvalidValueError(f"run_view_type is {run_view_type!r}", "it is one of ViewType's")
    return RunQuestion(
        filter=filter_string or "",
        order_by=_to_list("order_by", order_by or ()),
        experiment_ids=_to_list("experiment_ids", experiment_ids),
        lifecycle=_LIFECYCLES[run_view_type],
    )


def _choose(store: Store, ids: Sequence[str] | None, names: Sequence[str] | None, is_all: bool) -> tuple[str, ...]:
    """The ids of the experiments to search: with none named the current one, or all that are not deleted."""
    if ids and names:
        raise InvalidValueError("experiment_ids and experiment_names are both given", "give one of them")
    if ids:
        return _to_list("experiment_ids", ids)
    if names:
        return _find_ids(store, _to_list("experiment_names", names))
    if is_all:
        return list_experiments_in_use(store.repository)
    current = settings.find_current_experiment_id(store)
    return () if current is None else (current,)


def _find_ids(store: Store, names: Sequence[str]) -> tuple[str, ...]:
    """The ids of the experiments with these names; a name that none has is told and left out, as by MLflow."""
    known = {record.name: record.id for record in experiments.list_experiments(store.repository)}
    for name in names:
        if name not in known:
            _log.warning("gittrack: no experiment is called %r", name)
    return tuple(known[name] for name in names if name in known)


def _to_list(argument: str, values: Sequence[str]) -> tuple[str, ...]:
    if isinstance(values, str):
        return (values,)
    if not isinstance(values, Iterable):
        raise InvalidValueError(f"{argument} is {values!r}", "give a list of texts")
    return tuple(map(str, values))


def _check_count(max_results: int) -> int:
    if not isinstance(max_results, int) or isinstance(max_results, bool) or max_results < 0:
        raise InvalidValueError(f"max_results is {max_results!r}", "it is a whole number, 0 or more")
    return max_results


def _format_token(offset: int) -> str:
    return base64.urlsafe_b64encode(f"offset:{offset}".encode()).decode()


def _parse_token(token: str | None) -> int:
    if not token:
        return 0
    try:
        kind, _, offset = base64.urlsafe_b64decode(token.encode()).decode().partition(":")
        if kind == "offset":
            return _check_count(int(offset))
    except (AttributeError, binascii.Error, ValueError):
        pass
    raise InvalidValueError(f"page_token is {token!r:.80}", "give the token of the page before")

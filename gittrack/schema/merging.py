"""Two revisions of one thing made apart, as one: whose fields count, and what becomes of the tags of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TypeVar

from gittrack.schema.records import ExperimentRecord, RunRecord

_Record = TypeVar("_Record", RunRecord, ExperimentRecord)
_BY_ITSELF = ("revision", "tags", "updated_at")  # differ between any two, or are united


def unite_tags(base: Mapping[str, str], winner: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """The tags of two revisions that grew from one: what only one side changed stands as it changed it.

    Where both changed a tag otherwise, the winner's counts. A tag that one side took away and the other left as it
    was stays away. Sorted by key, so that the same two give the same bytes anywhere.
    """
    united = {}
    for key in sorted({*base, *winner, *other}):
        old, mine, theirs = base.get(key), winner.get(key), other.get(key)
        kept = theirs if mine == old else mine
        if kept is not None:
            united[key] = kept
    return united


def list_lost(winner: _Record, other: _Record) -> tuple[str, ...]:
    """The fields in which the revision that does not count says something else; tags are not among them."""
    names = (item.name for item in fields(winner) if item.name not in _BY_ITSELF)
    return tuple(name for name in names if getattr(winner, name) != getattr(other, name))

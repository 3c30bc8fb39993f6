"""What plain ``git push`` is about to push, as its pre-push hook is told; the artifacts go before the refs.

Source of the lines: githooks(5), "pre-push".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gittrack.errors import InvalidValueError
from gittrack.git.objects import ObjectId
from gittrack.git.remotes import find_remote
from gittrack.git.repository import Repository
from gittrack.schema.names import experiment_of_ref
from gittrack.schema.tag_names import is_registry_tag
from gittrack.sharing.fetching import LocalRefs
from gittrack.sharing.uploaded import note_uploaded
from gittrack.sharing.uploading import Told, Uploaded, upload


@dataclass(frozen=True, slots=True)
class PushedRef:
    """One ref that git is going to push: what it is here, and what it is to be there."""

    local_ref: str
    local_id: ObjectId
    remote_ref: str
    remote_id: ObjectId

    @property
    def is_deletion(self) -> bool:
        return not self.local_id.strip("0")

    @property
    def branch(self) -> str:
        """The experiment's branch that it is, here or else there; empty for other refs."""
        return next((ref for ref in (self.local_ref, self.remote_ref) if experiment_of_ref(ref) is not None), "")

    @property
    def has_runs(self) -> bool:
        """Whether it is an experiment's branch or a tag of the registry, here or there."""
        return bool(self.branch) or is_registry_tag(self.local_ref) or is_registry_tag(self.remote_ref)


def parse_pushed(lines: Iterable[str]) -> list[PushedRef]:
    """The refs that the hook's input names, in order.

    Raises:
        InvalidValueError: a line is not of four words.
    """
    pushed = []
    for line in lines:
        words = line.split()
        if len(words) != 4:
            raise InvalidValueError(f"not what git tells a pre-push hook: {line!r}", "see: git help githooks")
        pushed.append(PushedRef(words[0], ObjectId(words[1]), words[2], ObjectId(words[3])))
    return pushed


def upload_pushed(
    repository: Repository, asked: str, url: str, pushed: Iterable[PushedRef], told: Told | None = None
) -> Uploaded:
    """Send the artifacts of the runs that git is going to push, as far as the remote's store lacks them.

    Args:
        asked: the remote as git was asked for it, a name or a URL; url: where git pushes to.

    Raises:
        NotFoundError: there is no such remote. RemoteError: as `upload`.
    """
    with_runs = [ref for ref in pushed if ref.has_runs and not ref.is_deletion]
    remote = find_remote(repository, asked)
    if not with_runs or remote is None:
        return Uploaded()
    remote = replace(remote, push_url=url or remote.push_url)
    tips = sorted({ref.local_id for ref in with_runs})
    heads = {ref.branch: ref.local_id for ref in with_runs if ref.branch}
    done = upload(repository, remote, LocalRefs.read(repository, remote), tips, heads, told)
    note_uploaded(repository, remote, tips)
    return done

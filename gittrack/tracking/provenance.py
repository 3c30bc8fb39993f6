"""What made a run: the code as it stands, the command line, and the packages of this interpreter.

No variable of the environment is recorded, save the notebook's path that Jupyter keeps in one; what looks
like a password or a token in the command line becomes ``***``.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gittrack.errors import GittrackError, RepositoryError
from gittrack.git.command import find_git
from gittrack.git.config import strip_credentials
from gittrack.git.repository import Repository, discover_repository
from gittrack.git.worktree import CodeReading, CodeState, read_script_state
from gittrack.schema.records import Source

_log = logging.getLogger("gittrack")
_MASK = "***"
_JOB_VARIABLES = (
    "SLURM_JOB_ID",
    "PBS_JOBID",
    "LSB_JOBID",
)  # that they are set is looked at, not their values

# --max-tokens and --eos-token are numbers and vocabulary; the last words of a name say what it holds
_SECRET_WORDS = frozenset(
    ["password", "passwd", "passphrase", "pwd", "token", "secret", "credential", "credentials"]
)
_SECRET_PAIRS = re.compile(r"(?:api|access|secret|private|account|auth)_?keys?")
_VOCABULARY = frozenset(["bos", "cls", "end", "eos", "mask", "pad", "sep", "special", "start", "stop", "unk"])
_ASSIGNMENT = re.compile(r"(-{0,2}[\w.+/-]*\w)=(.*)", re.DOTALL)
_OPTION = re.compile(r"--?[a-zA-Z][\w.-]*")
_INSIDE_TEXT = (
    (re.compile(r"://(?:[^/\s?#]+|[^/\s:@]+:\S*)@"), f"://{_MASK}@"),
    (
        re.compile(r"(?i)([?&](?:[\w.-]*[-_.])?(?:token|password|secret|api_?key|signature|sig)=)[^&\s]+"),
        rf"\1{_MASK}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {_MASK}"),
    (
        re.compile(r"(?i)(\w*(?:password|passwd|token|secret|api_?key)['\"]?\]?\s*[:=]\s*['\"]?)[^\s'\",;()]+"),
        rf"\1{_MASK}",
    ),
    (re.compile(r"\b(hf_|gh[opsu]_|github_pat_|glpat-|sk-|xox[abp]-|AKIA|pypi-)[\w-]{16,}"), rf"\1{_MASK}"),
)

_DISTRIBUTION = re.compile(r"([A-Za-z0-9](?:[\w.-]*?[A-Za-z0-9])?)-(\d[^-]*)(?:-py[\d.]+)?\.(?:dist|egg)-info")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made a run.

    Attributes:
        code: the code as it stands; without a repository the entry script alone; None where there is neither.
        requirements: the packages as ``name==version`` lines, sorted; pip can read it.
        repository: where the code's objects are that ``code`` does not bring along; None where there is none.
    """

    source: Source
    code: CodeState | None
    requirements: str
    repository: Repository | None = None


class ProvenanceReading:
    """What makes the run that starts now, being read: git looks at the code while the run is begun.

    Use it with ``with``, so that no git is left where the run cannot begin.
    """

    def __init__(self, folder: str) -> None:
        self._code: CodeReading | None = None
        self._repository: Repository | None = None
        self._failure: GittrackError | OSError | None = None
        self._kind, self._script = _find_entry()
        try:
            self._repository = _find_repository(folder)
            self._code = CodeReading(self._repository) if self._repository else None
        except (GittrackError, OSError) as error:  # told when the answer is wanted
            self._failure = error

    def __enter__(self) -> ProvenanceReading:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._code is not None:
            self._code.__exit__()

    def finish(self) -> Provenance:
        """What makes the run; the code is read afresh each time.

        Raises:
            GittrackError, OSError: it cannot be told.
        """
        if self._failure is not None:
            raise self._failure
        requirements = read_requirements()
        name = _name_entry(self._script, self._repository)
        if self._code is not None:
            code: CodeState | None = self._code.finish()
        else:
            code = read_script_state(self._script) if os.path.isfile(self._script) else None
        source = _describe(self._kind, name, code, self._repository)
        return Provenance(source, code, requirements, self._repository)

    def finish_or_warn(self) -> Provenance | None:
        """What makes the run; None, with a warning, where that cannot be told."""
        try:
            return self.finish()
        except (GittrackError, OSError, ValueError) as error:
            _log.warning("gittrack cannot tell what made this run: %s", error)
            return None


def read_provenance(folder: str) -> Provenance:
    """What makes the run that starts now, in a folder; the code is read afresh at each call."""
    with ProvenanceReading(folder) as reading:
        return reading.finish()


def read_requirements() -> str:
    """The packages that this interpreter can import, one ``name==version`` a line, by normalised name.

    What was installed from a URL or for editing is ``name @ url``, without credentials; from a file that is
    gone (as conda's builds are) by version. Read anew only when a folder of ``sys.path`` has changed.
    """
    return _list_requirements(tuple(_stamp_folders(sys.path)))


def format_command(words: Sequence[str]) -> str:
    """A command line as a person would type it, its secrets masked."""
    quotable = (word.replace(_MASK, "@@@") for word in mask_secrets(words))
    return shlex.join(quotable).replace("@@@", _MASK)  # '***' in quotes would be true, and ugly


def mask_secrets(words: Sequence[str]) -> list[str]:
    """A command line's words, with ``***`` for the values of passwords, tokens and keys."""
    masked: list[str] = []
    is_value = False
    for word in words:
        if is_value and not word.startswith("--"):
            masked.append(_MASK)
            is_value = False
            continue
        assigned = _ASSIGNMENT.fullmatch(word)
        if assigned and _is_secret_name(assigned[1]):
            masked.append(f"{assigned[1]}={_MASK}")
        else:
            masked.append(_mask_inside(word))
        is_value = bool(_OPTION.fullmatch(word)) and _is_secret_name(word)
    return masked


def _describe(kind: str, name: str, code: CodeState | None, repository: Repository | None) -> Source:
    # without git nobody can say whether the work tree differs from HEAD
    is_known = code is not None and repository is not None and find_git() is not None
    return Source(
        kind=kind,
        name=name,
        command=format_command(sys.orig_argv),
        commit=code.head if code else None,
        branch=code.branch if code else None,
        dirty=code.dirty if code and is_known else None,
        remote=code.remote_url if code else None,
        left_out=len(code.left_out) if code else 0,
        python=platform.python_version(),
        platform=_describe_platform(),
    )


@functools.cache
def _describe_platform() -> str:
    return platform.platform()


def _find_repository(folder: str) -> Repository | None:
    try:
        return discover_repository(folder)
    except RepositoryError:  # a .git file that leads nowhere is no reason not to train
        return None


def _find_entry() -> tuple[str, str]:
    """The kind of source, and its file's path or a word for it."""
    main = sys.modules.get("__main__")
    if _is_notebook():
        path = getattr(main, "__vsc_ipynb_file__", None) or os.environ.get("JPY_SESSION_NAME") or "notebook"
        return "NOTEBOOK", str(path)
    kind = "JOB" if any(name in os.environ for name in _JOB_VARIABLES) else "LOCAL"
    file = getattr(main, "__file__", None)
    if file:
        return kind, os.path.abspath(file)
    return kind, (sys.argv[0] if sys.argv and sys.argv[0] else "interactive")


def _is_notebook() -> bool:
    """Whether a Jupyter kernel runs this process; a script may import ipykernel without being one."""
    module = sys.modules.get("ipykernel.kernelapp")
    return module is not None and bool(module.IPKernelApp.initialized())


def _name_entry(script: str, repository: Repository | None) -> str:
    """The script's path from the work tree's top; a bare name where it lies outside."""
    if not os.path.isabs(script) and not os.path.exists(script):
        return script
    top = repository.work_tree if repository else None
    relative = os.path.relpath(os.path.realpath(script), os.path.realpath(top)) if top else ".."
    name = os.path.basename(script) if relative.startswith("..") else relative
    return os.fsencode(name.replace(os.sep, "/")).decode("utf-8", "replace")


def _is_secret_name(name: str) -> bool:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    words = [word for word in re.split(r"[^a-z0-9]+", spaced) if word]
    if not words:
        return False
    if words[-1] in _SECRET_WORDS:
        return not (words[-1] == "token" and len(words) > 1 and words[-2] in _VOCABULARY)
    return bool(_SECRET_PAIRS.fullmatch("_".join(words[-2:])) or _SECRET_PAIRS.fullmatch(words[-1]))


def _mask_inside(text: str) -> str:
    for pattern, replacement in _INSIDE_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _stamp_folders(folders: Iterable[str]) -> Iterator[tuple[str, int]]:
    for folder in folders:
        try:
            yield folder, os.stat(folder or ".").st_mtime_ns
        except OSError:
            continue


@functools.lru_cache(maxsize=4)
def _list_requirements(folders: tuple[tuple[str, int], ...]) -> str:
    lines: dict[str, str] = {}
    for folder, _ in folders:
        for entry, name, version in _list_distributions(folder or "."):
            if name not in lines:  # the first on the path is the one that is imported
                url = _read_direct_url(os.path.join(folder, entry))
                lines[name] = f"{name} @ {url}\n" if url else f"{name}=={version}\n"
    return "".join(lines[name] for name in sorted(lines))


def _list_distributions(folder: str) -> Iterator[tuple[str, str, str]]:
    """Entry, normalised name and version of each package in a folder, by the entry's name alone."""
    try:
        entries = os.listdir(folder)
    except OSError:  # a zip file on the path
        return
    for entry in entries:
        found = _DISTRIBUTION.fullmatch(entry) if entry.endswith("-info") else None
        if found:
            yield entry, re.sub(r"[-_.]+", "-", found[1]).lower(), found[2]


def _read_direct_url(entry: str) -> str | None:
    """Where a package came from, if not from an index: PEP 610. Costs 5 µs where there is no such file."""
    try:
        with open(os.path.join(entry, "direct_url.json"), "rb") as file:
            origin = json.loads(file.read(1 << 16))
        url = strip_credentials(str(origin["url"]))
        if "vcs_info" in origin:
            return f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
        is_editable = bool(origin.get("dir_info", {}).get("editable"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return url if is_editable or not url.startswith("file:") else None

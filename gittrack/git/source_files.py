"""Which files of a work tree are somebody's source, which are likely secrets, and which names git refuses.

Pure: judges names, and bytes where it is given them; reads nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

_SOURCE_NAME = re.compile(
    r".*\.(?:py|pyi|pyx|pxd|ipynb|sh|bash|zsh|fish|ps1|bat|r|rmd|qmd|jl|m|c|cc|cpp|cxx|h|hh|hpp|cu|cuh|cl|f90|rs"
    r"|go|java|kt|scala|swift|js|jsx|ts|tsx|lua|pl|rb|sql|proto|yaml|yml|toml|json|jsonc|jsonnet|cfg|conf|ini|md"
    r"|rst|txt|tex|bib|html|css|cmake|mk|gin|j2|slurm|sbatch|tf|dockerfile)"
    r"|(?:make|docker|container|snake|jenkins|just|proc|pip|vagrant)file|mlproject|license|readme"
    r"|\.git(?:ignore|attributes)|\.dockerignore|\.env.*\.(?:example|sample|template)",
    re.DOTALL,
)
_NOT_OURS = re.compile(  # folders that tools fill
    r"node_modules|site-packages|__pycache__|\.ipynb_checkpoints|\.[tn]ox|\.(?:mypy|pytest|ruff)_cache"
    r"|mlruns|wandb|lightning_logs"
)
_SECRET_FOLDER = re.compile(r"\.(?:aws|ssh|gnupg|azure|kube|docker)|\.?secrets")
_SECRET_NAME = re.compile(
    r"\.env(?:rc|\..*)?|.*\.env|.*\.(?:pem|key|p8|p12|pfx|ppk|jks|keystore|kdbx)"
    r"|id_(?:rsa|dsa|ecdsa|ed25519).*|[._]netrc|\.(?:pypirc|npmrc|pgpass|git-credentials)|\.?htpasswd"
    r"|service[-_]?account.*\.json|kaggle\.json|token\.(?:json|txt)|credentials.*"
    r"|(?:.*[^a-z0-9])?(?:secrets?|credentials?)(?:[^a-z0-9].*)?",
    re.DOTALL,
)
_NO_SECRET_NAME = re.compile(r"\.env.*\.(?:example|sample|template)", re.DOTALL)
_PRIVATE_KEY = re.compile(rb"^[ \t]*-----BEGIN [A-Z0-9 ]*PRIVATE KEY", re.MULTILINE)


def is_likely_secret(path: str) -> bool:
    """Whether a path's name says that it holds keys or passwords."""
    *folders, name = path.split("/")
    if any(_SECRET_FOLDER.fullmatch(folder.lower()) for folder in folders):
        return True
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    if _NO_SECRET_NAME.fullmatch(name.lower()):
        return False
    return any(_SECRET_NAME.fullmatch(form.lower()) for form in {name, words})


def has_private_key(data: bytes) -> bool:
    """Whether a file's bytes hold a private key in PEM."""
    return _PRIVATE_KEY.search(data) is not None


def keep_source(paths: Iterable[bytes]) -> Iterator[bytes]:
    """The paths that look like somebody's source, sorted."""
    ordered = sorted(paths)
    installed = tuple(path[: -len(b"pyvenv.cfg")] for path in ordered if path.endswith(b"/pyvenv.cfg"))
    for path in ordered:
        *folders, name = path.decode("utf-8", "replace").lower().split("/")
        is_source = _SOURCE_NAME.fullmatch(name) and not path.startswith(installed)
        if is_source and not any(_NOT_OURS.fullmatch(folder) for folder in folders):
            yield path


def is_unfit(path: bytes, *, is_link: bool) -> bool:
    """Whether git would refuse this name in a tree: one that some system takes for ``.git`` (git-fsck(1))."""
    parts = path.decode("utf-8", "replace").split("/")
    if is_link and parts[-1].lower().startswith(".git"):
        return True
    for part in parts:
        plain = (
            "".join(char for char in part if unicodedata.category(char) != "Cf") if not part.isascii() else part
        )
        if re.split(r"[:\\]", plain)[0].rstrip(" .").lower() in (".git", "git~1"):
            return True
    return False

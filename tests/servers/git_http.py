"""Git's smart HTTP as forges have it: ``git http-backend`` behind lighttpd, basic authentication in front of it.

Where an LFS server is named, ``<repository>.git/info/lfs`` leads to it, so that one URL serves git and LFS.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.servers.starting import HOST, running

USER, PASSWORD = "ada", "to be seen by nobody"
USERS = {USER: PASSWORD}


@dataclass(frozen=True, slots=True)
class GitHttp:
    """A running server. Its repositories are the bare ones in ``folder``, made by `make`."""

    folder: Path
    port: int

    def make(self, name: str = "runs") -> Path:
        """A new bare repository, from which parts may be fetched; `url` has its address."""
        return make_bare(self.folder / f"{name}.git")

    def url(self, name: str = "runs", user: str = "", password: str = PASSWORD) -> str:
        """The address of a repository, with credentials where a user is named."""
        who = f"{quote(user)}:{quote(password)}@" if user else ""
        return f"http://{who}{HOST}:{self.port}/git/{name}.git"

    def requests(self) -> list[str]:
        """What git was asked so far, as ``POST /git/runs.git/git-upload-pack``; without what was refused."""
        log = self.folder.parent / "requests"
        return log.read_text().splitlines() if log.exists() else []


def make_bare(path: Path) -> Path:
    """A new bare repository for a server: parts may be fetched from it, as from forges."""
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(path)], check=True)
    for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        subprocess.run(["git", "-C", str(path), "config", key, "true"], check=True)
    return path


@contextmanager
def serve_git_over_http(
    place: Path,
    *,
    users: Mapping[str, str] = USERS,
    anonymous_read: bool = True,
    lfs_port: int | None = None,
    lfs_path: str = "/git/$1$2",
) -> Iterator[GitHttp]:
    """A server of the repositories in ``place/repositories``.

    Args:
        users: passwords by name; without users everybody may push.
        anonymous_read: whether to fetch takes no login; LFS takes one all the same where git does.
        lfs_port: where an LFS server listens. It sees ``Host`` as its own, so its hrefs lead straight to it.
        lfs_path: its path for ``<$1>.git/info/lfs<$2>``; as it is, Giftless's ``/<organization>/<repository>…``.
    """
    folder = place / "repositories"
    folder.mkdir(parents=True)
    (place / "empty").mkdir()
    (place / "users").write_text("".join(f"{name}:{password}\n" for name, password in users.items()))
    _write_script(place / "backend", folder, place / "requests", bool(users))
    program = shutil.which("lighttpd") or "/usr/sbin/lighttpd"

    def make_argv(port: int) -> list[str]:
        parts = [_server(place, port), _authentication(place, anonymous_read) if users else "", _backend(place)]
        parts += [_lfs(lfs_port, lfs_path)] if lfs_port else []
        (place / "lighttpd.conf").write_text("\n".join(parts))
        return [program, "-D", "-f", str(place / "lighttpd.conf")]

    with running(make_argv, place / "log") as port:
        yield GitHttp(folder, port)


def _write_script(path: Path, folder: Path, requests: Path, has_users: bool) -> None:
    """What lighttpd starts: it notes the request, and becomes ``git http-backend``."""
    backend = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
    open_to_all = "" if has_users else "export REMOTE_USER=anybody\n"
    path.write_text(
        "#!/bin/sh\n"
        f"echo \"$REQUEST_METHOD $REQUEST_URI\" >>'{requests}'\n{open_to_all}"
        f"export GIT_PROJECT_ROOT='{folder}' GIT_HTTP_EXPORT_ALL=1 GIT_CONFIG_NOSYSTEM=1 HOME='{folder}'\n"
        # what lighttpd passes on as a header, git reads by its own name: git-http-backend(1)
        'export GIT_PROTOCOL="$HTTP_GIT_PROTOCOL"\n'
        f"exec '{backend}/git-http-backend'\n"
    )
    path.chmod(0o755)


def _server(place: Path, port: int) -> str:
    modules = ("auth", "authn_file", "rewrite", "alias", "proxy", "cgi")  # auth before those that answer
    names = ", ".join(f'"mod_{name}"' for name in modules)
    return (
        f"server.modules = ({names})\n"
        f'server.bind = "{HOST}"\nserver.port = {port}\n'
        f'server.document-root = "{place}/empty"\nserver.errorlog = "{place}/errors"\n'
        f'server.upload-dirs = ("{place}")\n'
    )


def _authentication(place: Path, anonymous_read: bool) -> str:
    rule = '("method" => "basic", "realm" => "git", "require" => "valid-user")'
    required = f'auth.require = ("" => {rule})'
    conditions = [""]
    if anonymous_read:
        conditions = ['$HTTP["querystring"] =~ "service=git-receive-pack"', '$HTTP["url"] =~ "/git-receive-pack$"']
    return f'auth.backend = "plain"\nauth.backend.plain.userfile = "{place}/users"\n' + "\n".join(
        f"{condition} {{ {required} }}" if condition else required for condition in conditions
    )


def _backend(place: Path) -> str:
    return f'alias.url = ("/git" => "{place}/backend")\ncgi.assign = ("backend" => "")'


def _lfs(port: int, path: str) -> str:
    return (
        f'url.rewrite-once = ("^/git/([^/?]+)\\.git/info/lfs(.*)$" => "/behind{path}")\n'
        f'$HTTP["url"] =~ "^/behind/" {{\n'
        f'  proxy.server = ("" => (("host" => "{HOST}", "port" => {port})))\n'
        f'  proxy.header = ("map-urlpath" => ("/behind" => ""), "map-host-request" => ("-" => "{HOST}:{port}"))\n'
        "}"
    )

"""The git servers of the tests do what forges do, so that what passes here is worth something."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

from tests.harness import Repo
from tests.servers.git_http import USER, GitHttp, serve_git_over_http
from tests.servers.git_ssh import GitSsh, serve_git_over_ssh


def test_everybody_reads_what_only_a_login_pushes(repo: Repo, git_http: GitHttp, tmp_path: Path) -> None:
    git_http.make()
    repo.git("push", "--quiet", git_http.url(), "main", code=128)
    repo.git("push", "--quiet", git_http.url(user=USER), "main")
    repo.git("clone", "--quiet", git_http.url(), str(tmp_path / "clone"))
    assert (tmp_path / "clone/train.py").exists()
    assert git_http.requests()[0] == "GET /git/runs.git/info/refs?service=git-receive-pack"


def test_a_private_server_shows_nothing_without_a_login(repo: Repo, private_git_http: GitHttp) -> None:
    private_git_http.make()
    repo.git("push", "--quiet", private_git_http.url(user=USER), "main")
    repo.git("ls-remote", private_git_http.url(), code=128)
    repo.git("ls-remote", private_git_http.url(user=USER, password="wrong"), code=128)
    assert repo.git("ls-remote", private_git_http.url(user=USER), "main").endswith("\trefs/heads/main\n")


def test_parts_are_fetched_over_http_in_protocol_version_2(repo: Repo, git_http: GitHttp, tmp_path: Path) -> None:
    git_http.make()
    repo.git("push", "--quiet", git_http.url(user=USER), "main")
    clone = Repo(tmp_path / "part")
    repo.git("clone", "--quiet", "--bare", "--filter=blob:none", git_http.url(), str(clone.path))
    missing = clone.git("rev-list", "--objects", "--all", "--missing=print").splitlines()
    assert len([line for line in missing if line.startswith("?")]) == 2


def test_a_push_of_several_mebibytes_arrives(repo: Repo, git_http: GitHttp) -> None:
    bare = Repo(git_http.make())
    (repo.path / "large").write_bytes(Path(sys.executable).resolve().read_bytes()[: 6 << 20])
    repo.commit()
    repo.git("push", "--quiet", git_http.url(user=USER), "main")
    bare.git("fsck", "--strict")


def test_over_ssh_git_is_served_and_nothing_else(repo: Repo, git_ssh: GitSsh, tmp_path: Path) -> None:
    bare = git_ssh.make()
    repo.git("push", "--quiet", git_ssh.url(), "main")
    repo.git("clone", "--quiet", git_ssh.url(), str(tmp_path / "clone"))
    assert (tmp_path / "clone/train.py").exists()
    assert git_ssh.commands() == [f"git-receive-pack '{bare}'", f"git-upload-pack '{bare}'"]


def test_ssh_hands_lfs_authentication_to_a_program(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))"]
    with serve_git_over_ssh(tmp_path / "ssh", lfs_authenticate=program) as server:
        ssh = shlex.split(server.environment["GIT_SSH_COMMAND"])
        asked = [*ssh, "-p", str(server.port), "root@127.0.0.1"]
        done = subprocess.run([*asked, "git-lfs-authenticate '/a b.git' upload"], capture_output=True, check=True)
        assert json.loads(done.stdout) == ["/a b.git", "upload"]
        assert subprocess.run([*asked, "id"], capture_output=True, check=False).returncode == 128


class Echo(BaseHTTPRequestHandler):
    """Tells what it was asked for."""

    def do_GET(self) -> None:
        told = json.dumps([self.path, self.headers["Host"]]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *args: object) -> None:
        pass


def test_one_url_serves_git_and_lfs(repo: Repo, tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), Echo) as lfs:
        Thread(target=lfs.serve_forever, daemon=True).start()
        with serve_git_over_http(tmp_path / "http", users={}, lfs_port=lfs.server_port) as server:
            server.make()
            repo.git("push", "--quiet", server.url(), "main")
            with urllib.request.urlopen(f"{server.url()}/info/lfs/objects/batch") as answer:
                assert json.load(answer) == ["/git/runs/objects/batch", f"127.0.0.1:{lfs.server_port}"]
        lfs.shutdown()

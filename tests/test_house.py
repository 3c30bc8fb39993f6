"""The house stands as the design draws it: who may import whom, what loads when, what lies at the top."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gittrack.schema import codec
from gittrack.schema.statement import statement

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "gittrack"
FLOORS = {
    "schema": 0,
    "git": 1,
    "store": 2,
    "artifact_stores": 2,
    "sharing": 3,
    "tracking": 4,
    "registry": 4,
    "models": 5,
    "comparing": 5,
    "projects": 6,
    "integrations": 7,
    "web": 8,
    "serving": 8,
    "cli": 9,
}
FRONT_DOOR = {"__init__", "artifacts", "data", "entities"}  # public names, from tracking
TOP_LEVEL = {"pyproject.toml", "README.md", "gittrack", "tests", "examples", ".gittrack-schema"}
MODULES = sorted(path for path in HOUSE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, *, at_import: bool = False) -> Iterator[str]:
    """Every module that a file imports, inside functions too unless ``at_import``; not what only types need."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = node.module or ""
            for alias in node.names:
                inner = HOUSE.parent / Path(*base.split("."), alias.name)
                is_module = inner.with_suffix(".py").exists() or inner.is_dir()
                yield f"{base}.{alias.name}" if is_module else base
        pending.extend(ast.iter_child_nodes(node))


def own_imports(path: Path) -> set[str]:
    return {name for name in imports_of(path) if name.split(".")[0] == "gittrack"}


def package_of(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_only_go_down(path: Path) -> None:
    here = package_of(module_name(path))
    for name in own_imports(path):
        there = package_of(name)
        if there in ("errors", here) or name == "gittrack":
            continue
        if here in FRONT_DOOR:
            assert there in {"tracking", "errors"} | FRONT_DOOR, (here, name)
        else:
            assert here != "errors", f"errors imports {name}"
            assert there in FLOORS, f"{module_name(path)} imports {name}, which is no floor"
            assert FLOORS[there] < FLOORS[here], f"{module_name(path)} imports {name}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    arrows = {module_name(path): own_imports(path) for path in MODULES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name in done or name == "gittrack":
            return
        for other in sorted(arrows.get(name, ())):
            if not name.startswith(other + "."):  # a package's own __init__ is loaded anyway
                visit(other, (*trail, name))
        done.add(name)

    for name in arrows:
        visit(name, ())


def test_only_the_git_floor_imports_dulwich() -> None:
    users = {module_name(path) for path in MODULES if any(name.startswith("dulwich") for name in imports_of(path))}
    assert users
    assert {name.split(".")[1] for name in users} == {"git"}


def test_the_schema_floor_is_pure() -> None:
    impure = {"os", "io", "time", "socket", "subprocess", "pathlib", "tempfile", "shutil", "threading", "random"}
    for path in (HOUSE / "schema").glob("*.py"):
        assert not impure & set(imports_of(path)), path
        assert "datetime.now" not in path.read_text(), path


def test_no_call_of_dulwich_that_loses_something() -> None:
    dangerous = re.compile(
        r"dulwich\.(porcelain|worktree|gc|maintenance|lfs)|(?<![-\w])porcelain\b(?!=)|\.do_commit\(|get_worktree\(|\.pack_refs\("
        r"|add_packed_refs|LFSStore|\.tag_create\(|verify_tag|add_object\("
    )
    for path in MODULES:
        code = "\n".join(line.split("#")[0] for line in path.read_text().splitlines())
        code = re.sub(r'"""(?:.|\n)*?"""', "", code)
        assert not dangerous.search(code), (path, dangerous.search(code))


def test_importing_gittrack_loads_nothing_heavy() -> None:
    heavy = [
        "pandas",
        "numpy",
        "sklearn",
        "scipy",
        "typer",
        "starlette",
        "dulwich",
        "yaml",
        "matplotlib",
        "PIL",
        "psutil",
        "pyarrow",
        "sqlite3",
    ]
    script = f"import sys, gittrack; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_logging_loads_nothing_of_searching() -> None:
    script = (
        "import sys, gittrack; gittrack.start_run, gittrack.Client; names = ('sqlite3', 'lark', 'platformdirs'); "
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_listing_runs_loads_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    heavy = ["pandas", "numpy", "sklearn", "scipy", "yaml", "dulwich", "pydantic", "rich", "matplotlib"]
    script = (
        "import sys\nfrom gittrack.cli.app import app\n"
        "try:\n    app(['ls'])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_every_module_says_what_lives_there_and_stays_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
    assert text.count("\n") <= 600, f"{path} is too long"


def test_the_top_level_holds_nothing_else() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.split("/")[0] for line in listed.splitlines()}
    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL
    assert ".gittrack-schema" in top


def test_the_written_statement_is_the_one_that_every_run_carries() -> None:
    assert (ROOT / ".gittrack-schema").read_bytes() == statement()


def test_the_statement_names_every_field_that_is_written() -> None:
    told = yaml.safe_load(statement())
    tables = {
        "run": codec.RUN_FIELDS,
        "source": codec.SOURCE_FIELDS,
        "input": codec.INPUT_FIELDS,
        "metric": codec.METRIC_FIELDS,
        "experiment": codec.EXPERIMENT_FIELDS,
    }
    for section, table in tables.items():
        assert list(told[section]) == [entry for entry, _, _ in table]
        assert all(
            text.startswith(f"{kind}; ") for text, (_, kind, _) in zip(told[section].values(), table, strict=True)
        )
    assert {"refs", "commits", "trailers", "tags", "limits", "tree", "csv"} <= set(told)

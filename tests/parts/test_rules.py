"""Rules of the whole service that no tool checks: where things stand, and who may know whom."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import instantly
from instantly.storage.statements import FUNCTIONS, SQL_DIRECTORY, load_statements

PACKAGE = Path(instantly.__file__).parent
ROUTES = sorted((PACKAGE / "routes").glob("[!_]*.py"))
MODULES = sorted(PACKAGE.rglob("*.py"))
OUTSIDE_SANDBOX = [path for path in MODULES if "sandbox" not in path.parts]
MAX_LINES = 300
MAX_ROUTE_LINES = 25
# Who may import whom: a folder knows itself and what stands before it.
LAYERS = (
    "limits addresses readings config metrics json_text storage clients translation"
    " schemas web deliveries billing reconciliation figures erasure routes"
    " application"
).split()
# Methods that change a list, a dictionary or a set.
CHANGING = set(
    "add append clear discard extend insert pop popitem remove setdefault update".split()
)
COMMANDS = ("migrate", "cleanup", "forget")
# A command that does what requests ask for.
WHOLE_SERVICE = "refresh"
SQL = re.compile(
    r"\bSELECT\b.+\bFROM\b|\bINSERT\s+INTO\b|\bUPDATE\b.+\bSET\b|\bDELETE\s+FROM\b|\bRETURNING\b"
    r"|\bTRUNCATE\b|\bWITH\b.+\bAS\s*\(|\bSELECT\s+\d",
    re.DOTALL | re.IGNORECASE,
)


# Where a module's name, or that of a package around it, ends.
DOTS = re.compile(r"\.|$")
STATEMENTS = load_statements(SQL_DIRECTORY)


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).as_posix()


@cache
def nodes(path: Path) -> list[ast.AST]:
    """All of a file's syntax, beginning with the module."""
    return list(ast.walk(ast.parse(path.read_text(), filename=str(path))))


@cache
def imports(path: Path) -> set[str]:
    """Every module that a file imports; `from a import b` counts as a and as a.b."""
    names: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who knows whom"
            names.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return names


def code_texts(path: Path) -> Iterator[str]:
    """Every text in a file's code, without its docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in nodes(path)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in nodes(path):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            if isinstance(node.value, str):
                yield node.value


def blueprints(path: Path) -> list[str]:
    """What the blueprints are called that a file makes; "" for one without a name."""
    made = {
        id(node)
        for node in nodes(path)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Blueprint")
    }
    assigned = [node for node in nodes(path) if isinstance(node, ast.Assign)]
    names = [ast.unparse(node.targets[0]) for node in assigned if id(node.value) in made]
    return names + [""] * (len(made) - len(names))


def test_blueprints_are_made_among_the_routes_only_each_called_bp(app):
    assert {path: blueprints(path) for path in ROUTES} == {path: ["bp"] for path in ROUTES}
    others = set(OUTSIDE_SANDBOX) - set(ROUTES)
    assert [path for path in others if blueprints(path)] == []
    # Each is registered under the name of its file.
    assert set(app.blueprints) == {path.stem for path in ROUTES}


def test_every_view_and_every_module_says_what_it_is(app):
    silent = [name for name, view in app.view_functions.items() if not (view.__doc__ or "").strip()]
    assert silent == []
    assert [name_of(path) for path in MODULES if not ast.get_docstring(nodes(path)[0])] == []


def test_routes_hold_no_sql():
    assert [name for name, statement in STATEMENTS.items() if not SQL.search(statement)] == []
    for path in ROUTES:
        assert [text for text in code_texts(path) if SQL.search(text)] == []


@pytest.mark.parametrize("path", OUTSIDE_SANDBOX, ids=name_of)
def test_imports_go_one_way_and_never_to_the_sandbox(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own in COMMANDS:
        allowed = LAYERS[: LAYERS.index("schemas")]
    elif own == WHOLE_SERVICE:
        allowed = LAYERS
    elif own in ("server", "connection", "__init__"):
        allowed = ["config", "connection"] if own == "server" else []
    else:
        allowed = LAYERS[: LAYERS.index(own) + 1]
    known = {name.split(".")[1] for name in imports(path) if name.startswith("instantly.")}
    assert known <= {"__version__", *allowed}


def test_modules_import_each_other_in_no_circle():
    left = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): imports(path)
        for path in MODULES
    }
    while ends := [name for name, names in left.items() if not (names - {name}) & left.keys()]:
        for name in ends:
            del left[name]
    assert not left


@pytest.mark.parametrize(
    ("folder", "strangers"),
    [
        (".", {"pytest"}),
        ("storage", {"flask"}),
        ("clients", {"flask", "psycopg", "instantly.storage"}),
        ("clients/keys.py", {"instantly.clients.runs", "instantly.clients.instantly"}),
        ("clients/runs.py", {"instantly.clients.keys", "instantly.clients.instantly"}),
        ("clients/instantly", {"instantly.clients.keys", "instantly.clients.runs"}),
        ("translation", {"flask", "marshmallow", "instantly.clients", "instantly.storage"}),
        ("schemas", {"flask", "instantly.clients", "instantly.storage"}),
    ],
)
def test_a_folder_knows_nothing_of_these(folder, strangers):
    place = PACKAGE / folder
    for path in place.rglob("*.py") if place.is_dir() else [place]:
        packages = {name[: dot.start()] for name in imports(path) for dot in DOTS.finditer(name)}
        assert not packages & strangers, name_of(path)


def test_every_route_and_every_file_can_be_read_in_one_sitting():
    for path in ROUTES:
        for node in nodes(path)[0].body:
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < MAX_ROUTE_LINES, node.name
    assert [path for path in MODULES if len(path.read_text().splitlines()) > MAX_LINES] == []


def changed_by_functions(path: Path) -> set[str]:
    """What a file has assigned or imported for all of it, and its functions change.

    What `lru_cache` keeps is no such thing.
    """
    own: set[str] = set()
    for node in nodes(path)[0].body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("instantly"):
            own.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            own.update(target.id for target in targets if isinstance(target, ast.Name))
    changed: set[str] = set()
    functions = [node for node in nodes(path) if isinstance(node, ast.FunctionDef)]
    for node in (node for function in functions for node in ast.walk(function)):
        if isinstance(node, ast.Global):
            changed.update(node.names)
        is_changed = isinstance(node, ast.Attribute | ast.Subscript) and (
            not isinstance(node.ctx, ast.Load) or getattr(node, "attr", "") in CHANGING
        )
        while is_changed and isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        if is_changed and isinstance(node, ast.Name) and node.id in own:
            changed.add(node.id)
    return changed


def test_nothing_is_kept_in_a_module_but_metrics_and_settings():
    changed = {(path, name) for path in OUTSIDE_SANDBOX for name in changed_by_functions(path)}
    # The names of shapes are told while the module is read, and never later.
    assert changed == {(PACKAGE / "schemas" / "shapes.py", "SHAPES")}


def test_a_statement_begins_with_its_verb_and_does_what_it_says():
    writes = re.compile(r"\b(INSERT INTO|UPDATE [a-z_]+|DELETE FROM)\b")
    words = {"insert": "INSERT INTO", "upsert": "ON CONFLICT", "update": "UPDATE"}
    words |= {"delete": "DELETE", "select": "SELECT"}
    for name, statement in STATEMENTS.items():
        verb = name.partition("_")[0]
        assert words[verb] in statement, name
        assert bool(writes.search(statement)) is (verb != "select"), name


def test_a_sql_file_has_the_name_of_the_code_that_uses_it():
    for path in set(SQL_DIRECTORY.glob("*.sql")) - set(SQL_DIRECTORY.glob(FUNCTIONS)):
        namesakes = [module for module in OUTSIDE_SANDBOX if module.stem == path.stem]
        assert namesakes, path.name
        own = set(re.findall(r"^-- name: (\w+)$", path.read_text(), re.MULTILINE))
        for route in set(namesakes) & set(ROUTES):
            assert own & set(code_texts(route)), f"{name_of(route)} uses nothing of {path.name}"


def test_a_route_file_has_a_test_file_of_its_own_name():
    tests = {test.stem for test in Path(__file__).parents[1].rglob("test_*.py")}
    names = {path.stem for path in ROUTES} - {"documentation"} | {"openapi"}
    assert {f"test_{name}" for name in names} <= tests


@pytest.mark.parametrize("path", ROUTES, ids=name_of)
def test_a_view_catches_no_error_of_its_own(path):
    for handler in nodes(path):
        if isinstance(handler, ast.ExceptHandler):
            assert handler.type is not None, "a bare except"
            assert ast.unparse(handler.type) not in ("Exception", "BaseException")


def test_every_route_of_a_campaign_speaks_of_a_campaign_id(app):
    arguments = {name for rule in app.url_map.iter_rules() for name in rule.arguments}
    assert not arguments & {"id", "cid", "campaign", "uuid"}


def test_the_page_of_promises_names_tests_that_are_there():
    page = (PACKAGE.parent / "docs" / "promises.md").read_text()
    for path, test in re.findall(r"`(tests/[\w/.]+)(?:::(\w+))?`", page):
        assert f"def {test}" in (PACKAGE.parent / path).read_text(), f"{path}::{test}"

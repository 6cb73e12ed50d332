"""Rules of the whole service that no tool checks: where things stand, and who may know whom."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import instantly
from instantly.storage.database import FUNCTIONS, SQL_DIRECTORY, load_statements

PACKAGE = Path(instantly.__file__).parent
ROUTES = sorted((PACKAGE / "routes").glob("[!_]*.py"))
CLIENTS = sorted((PACKAGE / "clients").glob("*.py"))
MODULES = sorted(PACKAGE.rglob("*.py"))
OUTSIDE_SANDBOX = [path for path in MODULES if "sandbox" not in path.parts]
MAX_LINES = 300
MAX_ROUTE_LINES = 25
# Who may import whom: a folder knows itself and what stands before it.
LAYERS = (
    "config",
    "jsontext",
    "storage",
    "clients",
    "translation",
    "schemas",
    "web",
    "once",
    "routes",
    "application",
)
COMMANDS = ("migrate", "cleanup", "rebuild")
VERBS = ("select_", "insert_", "upsert_", "update_", "delete_")
SQL = re.compile(
    r"\bSELECT\b.+\bFROM\b|\bINSERT\s+INTO\b|\bUPDATE\b.+\bSET\b|\bDELETE\s+FROM\b|\bRETURNING\b"
    r"|\bTRUNCATE\b|\bWITH\b.+\bAS\s*\(|\bSELECT\s+\d",
    re.DOTALL | re.IGNORECASE,
)


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports; `from a import b` counts as a and as a.b."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who knows whom"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_package(path: Path, package: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for name in imports(path))


def code_texts(path: Path) -> Iterator[str]:
    """Every text in a file's code, without its docstrings."""
    module = tree(path)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        ):
            yield node.value


@pytest.mark.parametrize("path", ROUTES, ids=name_of)
def test_a_blueprint_is_always_called_bp(path):
    targets = [
        ast.unparse(target)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func).endswith("Blueprint")
        for target in node.targets
    ]
    assert targets == ["bp"]


def test_blueprints_are_made_among_the_routes_only():
    for path in set(OUTSIDE_SANDBOX) - set(ROUTES):
        calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
        assert not [call for call in calls if ast.unparse(call.func).endswith("Blueprint")], path


def test_every_route_file_is_registered_under_its_own_name(app):
    assert set(app.blueprints) == {path.stem for path in ROUTES}


def test_every_view_says_what_it_does(app):
    silent = [name for name, view in app.view_functions.items() if not (view.__doc__ or "").strip()]
    assert silent == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(tree(path))


@pytest.mark.parametrize("path", ROUTES, ids=name_of)
def test_routes_hold_no_sql(path):
    assert [text for text in code_texts(path) if SQL.search(text)] == []


def test_the_search_for_sql_finds_sql():
    statements = load_statements(SQL_DIRECTORY)
    assert statements
    assert [name for name, sql in statements.items() if not SQL.search(sql)] == []


def layer_of(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("path", OUTSIDE_SANDBOX, ids=name_of)
def test_imports_go_one_way(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    known = {layer_of(name) for name in imports(path) if name.startswith("instantly.")}
    if own in COMMANDS:
        allowed = {*LAYERS[: LAYERS.index("schemas")]}
    elif own == "server":
        allowed = {"config"}
    elif own == "__init__":
        allowed = set()
    else:
        allowed = {*LAYERS[: LAYERS.index(own) + 1]}
    assert known <= allowed


def test_modules_import_each_other_in_no_circle():
    known = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): set(imports(path))
        for path in MODULES
    }
    left = dict(known)
    while ends := [name for name, names in left.items() if not (names - {name}) & left.keys()]:
        for name in ends:
            del left[name]
    assert not left


@pytest.mark.parametrize(
    "path", sorted([*CLIENTS, *(PACKAGE / "storage").glob("*.py")]), ids=name_of
)
def test_clients_and_the_database_know_nothing_of_flask(path):
    assert not imports_package(path, "flask")


@pytest.mark.parametrize("path", CLIENTS, ids=name_of)
def test_clients_know_neither_the_database_nor_each_other(path):
    for forbidden in ("psycopg", "instantly.storage"):
        assert not imports_package(path, forbidden), forbidden
    others = {f"instantly.clients.{other.stem}" for other in CLIENTS} - {"instantly.clients.http"}
    assert not others & set(imports(path))


@pytest.mark.parametrize("path", OUTSIDE_SANDBOX, ids=name_of)
def test_the_service_does_not_need_its_sandbox(path):
    assert not imports_package(path, "instantly.sandbox")
    assert not imports_package(path, "pytest")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_prints(path):
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert "print" not in {ast.unparse(call.func) for call in calls}


@pytest.mark.parametrize("path", ROUTES, ids=name_of)
def test_every_route_can_be_read_at_a_glance(path):
    lengths = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in tree(path).body
        if isinstance(node, ast.FunctionDef)
    }
    assert {name for name, lines in lengths.items() if lines > MAX_ROUTE_LINES} == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_file_can_be_read_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_every_statement_begins_with_its_verb():
    names = load_statements(SQL_DIRECTORY)
    assert [name for name in names if not name.startswith(VERBS)] == []


def test_a_statement_does_what_its_verb_says():
    writes = re.compile(r"\b(INSERT INTO|UPDATE [a-z_]+|DELETE FROM)\b")
    for name, sql in load_statements(SQL_DIRECTORY).items():
        verb = name.partition("_")[0]
        if verb == "select":
            assert not writes.search(sql), name
        else:
            word = {"upsert": "INSERT INTO", "insert": "INSERT INTO"}.get(verb, verb.upper())
            assert word in sql, name
            assert verb != "upsert" or "ON CONFLICT" in sql, name


@pytest.mark.parametrize(
    "path",
    sorted(set(SQL_DIRECTORY.glob("*.sql")) - {SQL_DIRECTORY / FUNCTIONS}),
    ids=lambda path: path.name,
)
def test_a_sql_file_has_the_name_of_the_code_that_uses_it(path):
    namesakes = [module for module in OUTSIDE_SANDBOX if module.stem == path.stem]
    assert namesakes, f"{path.name} has no namesake in instantly/"


def test_a_route_with_statements_of_its_own_finds_them_under_its_own_name():
    sql_stems = {path.stem for path in SQL_DIRECTORY.glob("*.sql")}
    for path in ROUTES:
        if path.stem not in sql_stems:
            continue
        own = set(load_statements_of(path.stem))
        used = {text for text in code_texts(path) if text in load_statements(SQL_DIRECTORY)}
        assert own & used, f"{name_of(path)} uses nothing of sql/{path.stem}.sql"


def load_statements_of(stem: str) -> list[str]:
    text = (SQL_DIRECTORY / f"{stem}.sql").read_text()
    return re.findall(r"^-- name: (\w+)$", text, re.MULTILINE)


@pytest.mark.parametrize("path", ROUTES, ids=name_of)
def test_a_route_file_has_a_test_file_of_its_own_name(path):
    tests = {test.stem for test in Path(__file__).parents[1].rglob("test_*.py")}
    if path.stem == "documentation":
        assert "test_openapi" in tests
    else:
        assert f"test_{path.stem}" in tests


@pytest.mark.parametrize("path", ROUTES, ids=name_of)
def test_a_view_catches_no_error_of_its_own(path):
    handlers = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ExceptHandler)]
    for handler in handlers:
        assert handler.type is not None, "a bare except"
        assert ast.unparse(handler.type) not in ("Exception", "BaseException")


def test_every_route_of_a_campaign_speaks_of_a_campaign_id(app):
    arguments = {name for rule in app.url_map.iter_rules() for name in rule.arguments}
    assert not arguments & {"id", "cid", "campaign", "uuid"}

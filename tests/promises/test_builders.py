"""What a platform's builder does: the pinned dependencies, an exported tree, the Procfile."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import ROOT, Service, fresh_database, procfile_command

from instantly import __version__

REQUIREMENTS = ROOT / "requirements.txt"
NOT_EXPORTED = shutil.ignore_patterns(".git", ".venv", ".local", "*.egg-info", "__pycache__")


def test_every_dependency_is_pinned_and_hashed_and_no_host_is_named():
    text = REQUIREMENTS.read_text()
    lines = [
        line for line in text.replace("\\\n", " ").splitlines() if not line.startswith("    #")
    ]
    assert [line for line in lines if not re.match(r"[a-z0-9-]+==\S+ .*--hash=sha256:", line)] == []
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash)", text, re.MULTILINE)


def test_the_pinned_versions_are_those_that_the_project_asks_for(tmp_path):
    """Made anew, beside the old one, it pins the same."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    again = tmp_path / "requirements.txt"
    shutil.copy(REQUIREMENTS, again)
    words = ["pip", "compile", "pyproject.toml", "--universal", "--no-header", "--quiet"]
    done = subprocess.run(
        [Path(sys.executable).parent / "uv", *words, "--output-file", again],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    skip_without_a_registry(done)
    pins = [
        re.findall(r"^[a-z0-9-]+==\S+", path.read_text(), re.M) for path in (REQUIREMENTS, again)
    ]
    assert pins[0] == pins[1]


def test_both_commands_of_the_procfile_work_in_an_exported_tree_with_the_dependencies_alone(
    postgres, upstreams, tmp_path
):
    tree, venv = tmp_path / "tree", tmp_path / "venv"
    shutil.copytree(ROOT, tree, ignore=NOT_EXPORTED)
    python = venv / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    words = ["-m", "pip", "install", "--quiet", "--require-hashes", "-r", "requirements.txt"]
    skip_without_a_registry(
        subprocess.run([python, *words], cwd=tree, capture_output=True, text=True)
    )
    with fresh_database(postgres, is_migrated=False) as url:
        service = Service(url, upstreams, tmp_path, WEB_CONCURRENCY="2")
        service.root = tree
        service.environment["PATH"] = f"{venv / 'bin'}{os.pathsep}/usr/bin"
        try:
            service.launch(procfile_command("release"))
            assert service.ends() == 0, service.errors
            service.start()
            index = {"service": "instantly-service", "version": __version__}
            assert service.call("GET", "/").json() == index
            assert service.call("GET", "/health").json()["database"] == "ok"
            assert len(service.workers()) == 1
        finally:
            service.kill()


def skip_without_a_registry(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode and not os.environ.get("CI"):
        pytest.skip("no package registry can be reached")
    assert done.returncode == 0, done.stderr

"""The habits that keep the tree readable, checked: agreement of the pins, thin notebooks, no leaks of a machine."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from kit.parameter_specs import PARAMETER_TAGS
from tests.tidy import environment

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CELL_LINES_MAX = 10
MODULE_LINES_MAX = 400
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[a-z]+\])?==([^ ;]+)")


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def _pins(requirements: list[str]) -> set[tuple[str, str]]:
    found = [PIN.match(requirement) for requirement in requirements]
    assert all(found), [r for r, match in zip(requirements, found, strict=True) if not match]
    return {(match.group(1).lower().replace("_", "-"), match.group(2)) for match in found if match}


def test_project_lock_and_conda_environment_agree():
    """Every direct pin is in the lock as it stands, and environment.yml and uv's own lock are made from the lock."""
    lock = (ROOT / "requirements.lock").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = _pins(project["dependencies"] + project["optional-dependencies"]["dev"])
    assert direct <= _pins(environment.pins(lock))
    assert (ROOT / "environment.yml").read_text() == environment.environment_yml(lock)
    assert (ROOT / "requirements-uv.lock").read_text() == environment.uv_lock(lock)


def test_conda_environment_takes_only_python_and_pip_from_conda():
    described = yaml.safe_load((ROOT / "environment.yml").read_text())
    names = [item.split("=")[0] for item in described["dependencies"] if isinstance(item, str)]
    assert described["channels"] == ["conda-forge"]
    assert names == ["python", "pip"]


def test_installed_packages_are_the_locked_ones():
    """A test run in an environment that drifted from the lock proves nothing about the lock."""
    from importlib.metadata import PackageNotFoundError, version

    wrong = []
    for name, wanted in sorted(_pins(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])):
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "missing"
        wrong += [f"{name}: {found}, locked {wanted}"] if found != wanted else []
    assert wrong == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_thin(path: Path):
    """No outputs, at most ten lines a cell, no logic: def, class, try and for live in the kit."""
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    for cell in cells:
        source = "".join(cell["source"])
        assert cell["outputs"] == [] and cell["execution_count"] is None
        assert len(source.splitlines()) <= CELL_LINES_MAX, source
        banned = (ast.FunctionDef, ast.ClassDef, ast.Try, ast.For, ast.While, ast.AsyncFunctionDef, ast.Lambda)
        assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, banned)], source
    assert sum("parameters" in cell["metadata"].get("tags", []) for cell in cells) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_papermill_understands_every_parameter(path: Path):
    """It skips a line that it cannot parse and only warns; such a parameter could never be set."""
    from kit.notebook.runner import declared_parameters

    cells = json.loads(path.read_text())["cells"]
    declaring = [cell for cell in cells if set(PARAMETER_TAGS) & set(cell["metadata"].get("tags", []))]
    nodes = [node for cell in declaring for node in ast.walk(ast.parse("".join(cell["source"])))]
    assert len(declared_parameters(path)) == sum(isinstance(node, ast.AnnAssign) for node in nodes) > 0


def test_modules_stay_short():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in _tracked()
        if path.suffix == ".py" and (lines := path.read_text().count("\n")) > MODULE_LINES_MAX
    }
    assert long == {}


def test_nothing_names_a_machine_or_an_index():
    """Lock files and docs must not lead anyone to the place where they were made."""
    bad = re.compile(r"/root/|/work/|/home/\w|find-links|extra-index-url|index-url", re.IGNORECASE)
    hits = []
    for path in _tracked():
        if path.suffix in {".py", ".md", ".toml", ".lock", ".yml", ".yaml", ".ipynb", ".diff", ".j2", ""}:
            text = path.read_text(errors="replace")
            hits += [f"{path.relative_to(ROOT)}: {match.group(0)}" for match in bad.finditer(text)]
    hits = [hit for hit in hits if not hit.startswith("tests/tidy/test_tidy.py")]
    assert hits == []

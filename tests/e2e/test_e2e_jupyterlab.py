"""The same notebook, cell by cell in JupyterLab: a person opens it, runs all cells and sees plots and a verdict."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ROOT = Path(__file__).parents[2]
TOKEN = "gameday"
SERVER_S_MAX = 40.0
RUN_S_MAX = 200.0
SHORTER = {"rate_per_s": 20, "steady_s": 5, "fault_duration_s": 10, "recovery_s": 8}
NO_NEWS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True,
    }
}  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium on this machine"),
]


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A copy of the notebook with shorter times; nothing else of it is changed."""
    made = nbformat.read(ROOT / "notebooks" / "az_loss.ipynb", as_version=4)
    cell = next(cell for cell in made.cells if "parameters" in cell.metadata.get("tags", []))
    for name, value in SHORTER.items():
        cell.source = re.sub(rf"^{name}: int = \d+", f"{name}: int = {value}", cell.source, flags=re.MULTILINE)
    folder = tmp_path / "notebooks"
    folder.mkdir()
    nbformat.write(made, folder / "az_loss.ipynb")
    return folder / "az_loss.ipynb"


@pytest.fixture
def lab(notebook: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab of its own, with no settings of the user's."""
    folders = {name: str(tmp_path / name.lower()) for name in (
        "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR",
    )}  # fmt: skip
    settings = Path(folders["JUPYTER_CONFIG_DIR"]) / "labconfig"
    settings.mkdir(parents=True)
    (settings / "default_setting_overrides.json").write_text(json.dumps(NO_NEWS))
    argv = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0",
        f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={notebook.parent}",
    ]  # fmt: skip
    log = tmp_path / "lab.log"
    environment = {**os.environ, **folders, "GAMEDAY_REPORTS": str(tmp_path / "reports")}
    with log.open("w") as output:
        server = subprocess.Popen(argv, env=environment, stdout=output, stderr=output, start_new_session=True)
    address = r"http://127\.0\.0\.1:\d+"
    wait_for(lambda: re.search(address, log.read_text()) is not None, SERVER_S_MAX, "JupyterLab")
    found = re.search(address, log.read_text())
    assert found is not None
    yield found.group(0)
    family = psutil.Process(server.pid).children(recursive=True)
    server.terminate()
    server.wait(20)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


def test_all_cells_run_and_the_verdict_is_seen(lab: str, notebook: Path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{lab}/lab/tree/{notebook.name}?token={TOKEN}&reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
        page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=60_000)
        # Before a kernel is connected, running cells would ask for one in a dialog.
        wait_for(lambda: kernel_is_idle(lab), 60, "an idle kernel")
        page.click('text="Run" >> nth=0')
        page.click('.lm-Menu-itemLabel:text-is("Run All Cells")')
        code_cells = sum(cell["cell_type"] == "code" for cell in read(notebook)["cells"])
        wait_for(lambda: kernel_is_idle(lab) and done(page, notebook) >= code_cells, RUN_S_MAX, "all cells to run")
        browser.close()
    cells = [cell for cell in read(notebook)["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert [output["evalue"] for output in outputs if output["output_type"] == "error"] == []
    assert sum("image/svg+xml" in output.get("data", {}) for output in outputs) >= 5
    verdicts = [
        output for output in outputs if output.get("metadata", {}).get("scrapbook", {}).get("name") == "verdict"
    ]
    record = verdicts[0]["data"]["application/scrapbook.scrap.json+json"]["data"]
    assert record["verdict"] == "PASS", record["reasons"]


def done(page: Any, notebook: Path) -> int:
    """How many code cells have run, as the saved notebook says."""
    page.keyboard.press("Control+s")
    page.wait_for_timeout(1_000)
    return sum(cell.get("execution_count") is not None for cell in read(notebook)["cells"])


def kernel_is_idle(lab: str) -> bool:
    with urllib.request.urlopen(f"{lab}/api/sessions?token={TOKEN}", timeout=10) as answer:
        kernels = [session["kernel"] for session in json.load(answer)]
    return any(kernel["execution_state"] == "idle" and kernel["connections"] > 0 for kernel in kernels)


def read(notebook: Path) -> dict[str, Any]:
    return json.loads(notebook.read_text())


def wait_for(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.3)

"""Save templates, safety levers and experiments, so that they outlive the server.

The file of templates and levers is rewritten at each change, the file of experiments is appended to. An experiment that
ran when the server was killed is shown as stopped. `journal` keeps the faults that are in force.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kit.files.replacement import open_appending, replacing_file
from kit.local.fis.experiments import STOPPED, ActionState, Experiment
from kit.local.fis.resources import Resource
from kit.local.fis.targets import ResolvedTarget

SETTINGS_FILE = "fis-settings.json"
EXPERIMENTS_FILE = "fis-experiments.jsonl"
INTERRUPTED = "Experiment halted: the local AWS was killed, and undid its faults when it started again."

# (account, region, id) → value, as in MiniStack's scoped dicts.
Scoped = dict[tuple[str, str, str], Any]

log = logging.getLogger(__name__)


class Store:
    """The files of one local AWS."""

    def __init__(self, state_dir: Path) -> None:
        self._settings = state_dir / SETTINGS_FILE
        self._experiments = state_dir / EXPERIMENTS_FILE

    def load_settings(self) -> dict[str, Scoped]:
        """Return scoped values by name; nothing without a file."""
        if not self._settings.exists():
            return {}
        written = json.loads(self._settings.read_text(encoding="utf-8"))
        return {name: {tuple(key): value for key, value in items} for name, items in written.items()}

    def save_settings(self, settings: Mapping[str, Scoped]) -> None:
        """Write all scoped values."""
        items = {name: [[list(key), value] for key, value in scoped.items()] for name, scoped in settings.items()}
        _replace(self._settings, json.dumps(items))

    def load_experiments(self, kept_max: int) -> list[Experiment]:
        """Return the newest experiments, oldest first, and remove the others from the file."""
        latest: dict[str, dict[str, Any]] = {}
        for line in self._experiments.read_text(encoding="utf-8").splitlines() if self._experiments.exists() else ():
            try:
                record = json.loads(line)
            except ValueError:
                # The last line of a killed process may be incomplete; an earlier line holds the same experiment.
                log.warning("experiment record unreadable", extra={"line": line[:200]})
                continue
            latest[record["id"]] = record
        experiments = [_experiment_of(record) for record in latest.values()][-kept_max:]
        _replace(self._experiments, _lines(experiments))
        return experiments

    def save_experiment(self, experiment: Experiment) -> None:
        """Append the current state of an experiment; called at its start and at its end."""
        with open_appending(self._experiments) as file:
            file.write(_lines([experiment]).encode())


def _lines(experiments: Iterable[Experiment]) -> str:
    return "".join(json.dumps(_record_of(each)) + "\n" for each in experiments)


def _replace(path: Path, text: str) -> None:
    with replacing_file(path) as file:
        file.write(text.encode())


_PLAIN = (
    "id", "arn", "account_id", "region", "template", "actions_mode", "tags", "status", "reason", "error",
    "created_at", "started_at", "ended_at",
)  # fmt: skip
_ACTION_PLAIN = ("name", "status", "reason", "started_at", "ended_at")


def _record_of(experiment: Experiment) -> dict[str, Any]:
    return {
        **{name: getattr(experiment, name) for name in _PLAIN},
        "actions": [{name: getattr(each, name) for name in _ACTION_PLAIN} for each in experiment.actions.values()],
        "resolved": [
            {"name": each.name, "type": each.type, "matching": each.matching, "arns": [r.arn for r in each.resources]}
            for each in experiment.resolved
        ],
    }


def _experiment_of(record: dict[str, Any]) -> Experiment:
    definitions = record["template"]["actions"]
    actions = {each["name"]: ActionState(definition=definitions[each["name"]], **each) for each in record["actions"]}
    resolved = [
        ResolvedTarget(
            name=each["name"],
            type=each["type"],
            matching=each["matching"],
            resources=tuple(Resource(type=each["type"], arn=arn, tags={}, described={}) for arn in each["arns"]),
        )
        for each in record["resolved"]
    ]
    plain = {name: record[name] for name in _PLAIN}
    experiment = Experiment(**plain, actions=actions, resolved=resolved)
    if experiment.is_active:
        experiment.status, experiment.reason = STOPPED, INTERRUPTED
        for action in actions.values():
            if action.ended_at is None:
                action.status, action.reason = STOPPED, "Action was stopped."
    return experiment

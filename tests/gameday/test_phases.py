"""The phases of a run in `phases.jsonl`."""

from __future__ import annotations

import time

import pytest

from kit.errors import EvidenceMissing
from kit.notebook.run_phases import PHASES_FILE, RunPhase, read_phases, record_phase


def test_phases_are_read_in_the_order_in_which_they_began(tmp_path):
    before = time.time()
    for phase in (RunPhase.DEPLOY, RunPhase.STEADY_STATE, RunPhase.CLOSED):
        record_phase(tmp_path, phase)
    read = read_phases(tmp_path)
    assert [one.phase for one in read] == ["deploy", "steady_state", "closed"]
    assert before <= read[0].t <= read[1].t <= read[2].t <= time.time()


def test_a_run_that_has_not_begun_has_no_phases(tmp_path):
    assert read_phases(tmp_path) == ()


def test_an_incomplete_last_line_is_left_out(tmp_path):
    record_phase(tmp_path, RunPhase.DEPLOY)
    with (tmp_path / PHASES_FILE).open("a") as file:
        file.write('{"phase": "steady_st')
    assert [one.phase for one in read_phases(tmp_path)] == [RunPhase.DEPLOY]


@pytest.mark.parametrize("line", ["junk", '{"phase": "lunch", "t": 1.0}', '{"t": 1.0}', "[]"])
def test_a_complete_line_that_is_no_phase_is_an_error(tmp_path, line):
    (tmp_path / PHASES_FILE).write_text(line + "\n")
    with pytest.raises(EvidenceMissing, match="not a phase of a run"):
        read_phases(tmp_path)

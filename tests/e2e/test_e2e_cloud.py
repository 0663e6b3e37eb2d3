"""A local AWS that stays up between runs: one at a time, and cleaned up after a run that was killed."""

from __future__ import annotations

import pytest

from kit import aws, deploy
from tests.polling import wait_for_value

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
# The watchdog notices the end of the command at once; stopping faults and deleting the stack takes seconds.
CLEANED_S_MAX = 60.0


def test_a_second_one_is_refused_and_the_first_is_named(gameday, cloud: aws.Session):
    again = gameday("cloud", "up")
    assert again.returncode == 4 and cloud.endpoint in again.stderr
    assert cloud.endpoint in gameday("cloud", "status").stdout


def test_a_killed_run_leaves_no_stack_and_no_fault_on_it(cloud: aws.Session, start_run):
    run = start_run()
    run.wait_for_line("experiment running")
    assert deploy.find_stacks(cloud) != []
    run.process.kill()
    wait_for_value(lambda: deploy.find_stacks(cloud), [], "stacks", CLEANED_S_MAX, interval_s=0.5)
    states = [item["state"]["status"] for item in cloud.client("fis").list_experiments()["experiments"]]
    assert set(states) <= {"completed", "stopped"}

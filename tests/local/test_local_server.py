"""The server of the local AWS: its start, its files and ports, and its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from kit import aws
from kit.errors import CloudError, UsageError
from kit.process import lifeline
from tests.local.function_rig import Function
from tests.polling import wait_until

HERE = Path(__file__).parent
WAIT_S_MAX = 15.0
READY_S_MAX = 2.0
DEAD_S_MAX = 2.0
# The limit is for an idle machine; tests share two cores.
SHARED_MACHINE = 3.0


def alive(pid: int) -> bool:
    return lifeline.started_at(pid) is not None


def run_task(session: aws.Session, name: str) -> list[int]:
    """Start an ECS task that sleeps and has a child process. Return the pids of both."""
    ec2, ecs = session.client("ec2"), session.client("ecs")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24", AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"]
    ecs.create_cluster(clusterName=name)
    marker = f"sleep-{name}-{os.getpid()}"
    program = Path(__file__).with_name("programs") / "sleeping_parent.py"
    ecs.register_task_definition(
        family=name, networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="256", memory="512",
        containerDefinitions=[{
            "name": "main", "image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/paperbroker-base:latest",
            "command": ["python", "-c", program.read_text(), marker], "essential": True,
        }],
    )  # fmt: skip
    network = {"awsvpcConfiguration": {"subnets": [subnet], "assignPublicIp": "DISABLED"}}
    ecs.run_task(cluster=name, taskDefinition=name, launchType="FARGATE", networkConfiguration=network)
    wait_until(lambda: len(_with_argument(marker)) == 2)
    return _with_argument(marker)


def session_of(state_dir: Path) -> aws.Session:
    """Make a session for a server by what its state folder tells."""
    facts = json.loads((state_dir / "cloud.json").read_text())
    credentials = aws.Credentials(access_key=facts["access_key"], secret_key=facts["secret_key"])
    return aws.local_session(facts["endpoint"], facts["region"], credentials)


def _with_argument(text: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if text.encode() in words:
            found.append(int(entry.name))
    return found


# ---- start ----


def test_the_server_is_ready_in_two_seconds(tmp_path):
    begun = time.monotonic()
    with aws.start_local(tmp_path / "state") as cloud:
        took_s = time.monotonic() - begun
        assert cloud.session().client("sts").get_caller_identity()["Account"] == "000000000000"
    assert took_s < READY_S_MAX * SHARED_MACHINE


def test_the_cloud_file_has_endpoint_region_and_account(cloud):
    facts = json.loads((cloud.state_dir / "cloud.json").read_text())
    assert facts["endpoint"].startswith("http://127.0.0.1:")
    assert (facts["region"], facts["account_id"]) == ("us-east-1", "000000000000")
    assert facts["started_at"] <= time.time()


def test_two_servers_share_nothing(cloud, start_cloud):
    """The second one is in another Region."""
    other = start_cloud(region="eu-west-1", seed=9)
    cloud.client("sqs").create_queue(QueueName="server-only-here")
    found = other.client("sqs").list_queues(QueueNamePrefix="server-only-here").get("QueueUrls", [])
    assert found == []
    zones = other.client("ec2").describe_availability_zones()["AvailabilityZones"]
    assert {zone["ZoneName"][:9] for zone in zones} == {"eu-west-1"}


def test_queue_urls_lead_to_the_same_server(cloud):
    url = cloud.client("sqs").create_queue(QueueName="server-address")["QueueUrl"]
    assert url.startswith(cloud.endpoint)


def test_the_server_writes_nothing_outside_its_folder(cloud):
    """This includes S3 objects and MiniStack's files."""
    cloud.client("s3").create_bucket(Bucket="server-folder")
    cloud.client("s3").put_object(Bucket="server-folder", Key="k", Body=b"x")
    for descriptor in Path(f"/proc/{cloud.pid}/fd").iterdir():
        target = os.path.realpath(descriptor)
        if os.path.isfile(target) and not target.startswith((str(cloud.state_dir), "/proc", "/dev", str(cloud.log))):
            assert not os.access(target, os.W_OK) or target.endswith((".so", ".py", ".pyc")), target


def test_the_server_listens_on_loopback_only(cloud):

    listening = [c.laddr.ip for c in psutil.Process(cloud.pid).net_connections("tcp") if c.status == "LISTEN"]
    assert set(listening) == {"127.0.0.1"}


def kit_local(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "kit.local", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=WAIT_S_MAX, check=False)


def test_a_taken_port_is_one_line_and_exit_4(cloud, tmp_path):
    port = cloud.endpoint.rpartition(":")[2]
    done = kit_local("--state-dir", str(tmp_path), "--port", port)
    assert done.returncode == 4
    assert done.stderr == f"kit.local: port {port} of 127.0.0.1 cannot be used: Address already in use\n"


def test_a_folder_that_cannot_be_written_is_one_line_and_exit_4(tmp_path):
    (tmp_path / "file").write_text("")
    done = kit_local("--state-dir", str(tmp_path / "file" / "below"))
    assert done.returncode == 4
    assert done.stderr.startswith("kit.local: state dir ") and done.stderr.count("\n") == 1


def test_a_full_disk_is_one_line_and_exit_4():
    """/dev/full replaces the disk: every write to it fails with ENOSPC."""
    argv = [sys.executable, str(HERE / "server_on_full_disk.py"), "/tmp"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=WAIT_S_MAX, check=False)
    assert done.returncode == 4
    assert done.stderr == "kit.local: state dir /tmp cannot be written: No space left on device\n"


@pytest.mark.parametrize("arguments", [[], ["--state-dir", "x", "--port", "70000"], ["--nonsense"]])
def test_wrong_usage_is_exit_4(arguments):
    assert kit_local(*arguments).returncode == 4


# ---- end ----


def test_sigterm_ends_tasks_and_server_in_order(tmp_path):
    """The server has no supervisor here and must clean up by itself."""
    process = subprocess.Popen([sys.executable, "-m", "kit.local", "--state-dir", str(tmp_path)])
    try:
        wait_until((tmp_path / "cloud.json").exists)
        pids = run_task(session_of(tmp_path), "sigterm")
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S_MAX) == 0
        assert not any(alive(pid) for pid in pids)
    finally:
        process.kill()


def test_tasks_and_folder_of_a_killed_server_are_removed(tmp_path):
    with aws.start_local(tmp_path / "state") as cloud:
        pids = run_task(cloud.session(), "killed")
        os.kill(cloud.pid, signal.SIGKILL)
        wait_until(lambda: not any(alive(pid) for pid in pids), timeout_s=DEAD_S_MAX)
        wait_until(lambda: not (tmp_path / "state").exists())
        assert not cloud.alive()


def test_server_and_tasks_of_a_killed_owner_end(tmp_path):
    """The owner may be a notebook's kernel."""
    argv = [sys.executable, str(HERE / "server_owner.py"), str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        _, server = owner.stdout.readline().split()
        pids = [int(server), *run_task(session_of(tmp_path / "state"), "orphan")]
        owner.kill()
        wait_until(lambda: not any(alive(pid) for pid in pids), timeout_s=DEAD_S_MAX)
        wait_until(lambda: not (tmp_path / "state").exists())


def test_the_owner_removes_the_folder_that_a_killed_supervisor_has_left(tmp_path):
    with aws.start_local(tmp_path / "state") as cloud:
        assert cloud.owned is not None
        os.kill(cloud.owned.pid, signal.SIGKILL)
    assert not (tmp_path / "state").exists()
    wait_until(lambda: not cloud.alive())


def test_the_next_start_removes_the_folder_of_a_cloud_that_was_killed_with_its_owner(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    argv, environment = [sys.executable, str(HERE / "server_owner.py")], {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        server = int(owner.stdout.readline().split()[1])
        supervisor = psutil.Process(server).parent()
        assert supervisor is not None
        supervisor.suspend()  # it would clean up
        owner.kill()
        owner.wait(WAIT_S_MAX)
        supervisor.kill()
    wait_until(lambda: not alive(server))
    (left,) = tmp_path.glob("gameday-*")
    with aws.start_local() as cloud:
        assert cloud.state_dir.parent == tmp_path and not left.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_not_empty_is_kept(tmp_path):
    (tmp_path / "mine").write_text("x")
    aws.start_local(tmp_path).close()
    assert (tmp_path / "mine").read_text() == "x"


def test_a_failed_start_has_a_reason(cloud, tmp_path):
    port = int(cloud.endpoint.rpartition(":")[2])
    with pytest.raises(CloudError, match=f"ended with 4 .*port {port} of 127.0.0.1 cannot be used"):
        aws.start_local(tmp_path / "state", port=port)
    assert not (tmp_path / "state").exists()


# ---- detached ----


def test_a_detached_server_is_found_not_started_twice_and_stopped(tmp_path):
    """Between `cloud up`, `status` and `down` only the server and its supervisor run."""
    subprocess.run([sys.executable, str(HERE / "server_starter.py"), str(tmp_path)], check=True, timeout=WAIT_S_MAX)
    try:
        found = aws.find_local(tmp_path)
        assert found is not None and found.alive()
        found.session().client("sqs").create_queue(QueueName="kept")
        with pytest.raises(UsageError, match=f"running already at {found.endpoint}"):
            aws.start_local_detached(tmp_path)
    finally:
        assert aws.stop_local(tmp_path)
    assert aws.find_local(tmp_path) is None
    assert not found.alive()
    assert not aws.stop_local(tmp_path)


def test_the_record_of_a_dead_server_is_ignored(tmp_path):
    """Its pid may belong to another process, which must not be signalled."""
    record = {"pid": os.getpid(), "started": 1}
    (tmp_path / "running.json").write_text(json.dumps({"supervisor": record, "server": record}))
    assert aws.find_local(tmp_path) is None
    assert not aws.stop_local(tmp_path)


@pytest.mark.slow
def test_a_detached_server_whose_starter_was_killed_is_replaced(tmp_path):
    """The starter was killed before the server was ready: the next start ends that server first."""
    with subprocess.Popen([sys.executable, str(HERE / "server_starter.py"), str(tmp_path)]) as starter:
        wait_until((tmp_path / "running.json").exists)
        starter.kill()
    left = json.loads((tmp_path / "running.json").read_text())["server"]["pid"]
    try:
        try:
            assert aws.start_local_detached(tmp_path).pid != left
            assert not alive(left)
        except UsageError:
            assert aws.find_local(tmp_path) is not None  # it was ready in the meantime
    finally:
        aws.stop_local(tmp_path)
    assert not alive(left)


# ---- functions ----


def run_function(session: aws.Session) -> list[int]:
    """Invoke a function that leaves a process of its own behind. Return the pids of its environment and of that."""
    function = Function(session)
    left, error = function.invoke({"do": "leave"})
    assert error == ""
    return [left["pid"], left["child"]]


def test_sigterm_ends_functions_and_their_files(tmp_path):
    """Also one that is busy. The server has no supervisor here and must clean up by itself."""
    process = subprocess.Popen([sys.executable, "-m", "kit.local", "--state-dir", str(tmp_path)])
    try:
        wait_until((tmp_path / "cloud.json").exists)
        session = session_of(tmp_path)
        pids = run_function(session)
        busy = Function(session)
        busy.client.invoke(FunctionName=busy.name, InvocationType="Event", Payload=b'{"do": "sleep", "s": 60}')
        wait_until(lambda: len(list((tmp_path / "functions").iterdir())) == 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S_MAX) == 0
        assert not any(alive(pid) for pid in pids)
        assert list((tmp_path / "functions").iterdir()) == []
    finally:
        process.kill()


def test_functions_and_folder_of_a_killed_server_are_removed(tmp_path):
    with aws.start_local(tmp_path / "state") as cloud:
        pids = run_function(cloud.session())
        os.kill(cloud.pid, signal.SIGKILL)
        wait_until(lambda: not any(alive(pid) for pid in pids), timeout_s=DEAD_S_MAX)
        wait_until(lambda: not (tmp_path / "state").exists())

"""The durations of the local ECS, and the bounds of its waits. Tests pass a faster `Timing`."""

from dataclasses import dataclass

# Fargate takes 20 to 40 s to start a task. Ours takes about a second, with jitter from the run's seed. The order of
# the steps is the same, and a replacement is never available at once.
PROVISION_S = (0.4, 0.8)
PULL_S = (0.3, 0.6)
# A pull without an answer fails after this time. On AWS the agent's retries take about two minutes.
PULL_S_MAX = 120.0
TICK_S = 0.2
# A task without a load balancer counts as healthy once it has run this long.
STABLE_S = 1.0
# An essential container that exits this soon after its start counts as a failed start, not as a lost task.
FAILED_START_S = 5.0
# The first failed starts are replaced at once, as on ECS. Then the wait doubles up to ECS's quarter of an hour.
FAILED_STARTS_FREE = 3
BACKOFF_S = 1.0
BACKOFF_S_MAX = 900.0
# The stopTimeout of container definitions: 30 s by default, at most 120 s.
STOP_TIMEOUT_S = 30.0
STOP_TIMEOUT_S_MAX = 120.0
# Target groups allow a deregistration delay of up to an hour.
DEREGISTER_S_MAX = 3600.0
# The time between SIGTERM and SIGKILL of a task when the whole local cloud stops.
SHUTDOWN_GRACE_S = 1.0
# The server gives each service 3 s to stop. The last half second is for killing what is left.
SHUTDOWN_S_MAX = 2.5
# Stopped tasks can be described for an hour, as on AWS, up to this many.
STOPPED_VISIBLE_S = 3600.0
STOPPED_TASKS_MAX = 2000
INACTIVE_SERVICES_MAX = 200
EVENTS_PER_SERVICE_MAX = 100
DEPLOYMENTS_PER_SERVICE_MAX = 100
# CloudFormation gives an ECS service three hours to stabilise.
STABILIZE_S_MAX = 3 * 3600.0
# The limits of RunTask and DescribeTasks.
RUN_TASK_COUNT_MAX = 10
DESCRIBE_MAX = 100
# How long a container waits for the containers that it depends on, unless its `startTimeout` says otherwise.
DEPENDENCY_S_MAX = 180.0
# How often a waiting container looks at the containers that it depends on.
DEPENDENCY_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The durations that a scheduler uses, in seconds."""

    provision_s: tuple[float, float] = PROVISION_S
    pull_s: tuple[float, float] = PULL_S
    tick_s: float = TICK_S
    stable_s: float = STABLE_S
    failed_start_s: float = FAILED_START_S
    failed_starts_free: int = FAILED_STARTS_FREE
    backoff_s: float = BACKOFF_S
    backoff_s_max: float = BACKOFF_S_MAX
    shutdown_grace_s: float = SHUTDOWN_GRACE_S
    stabilize_s_max: float = STABILIZE_S_MAX

    def backoff_after(self, failed_starts: int) -> float:
        """Return the seconds to wait before the next start, after so many failed starts in a row."""
        excess = failed_starts - self.failed_starts_free
        if excess <= 0:
            return 0.0
        # The exponent is capped so that thousands of failures cannot overflow the float.
        return min(self.backoff_s_max, self.backoff_s * 2.0 ** min(excess - 1, 20))

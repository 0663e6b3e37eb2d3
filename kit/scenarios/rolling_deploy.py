"""Every task of the API is replaced by one of the same kind, in the middle of the day."""

from kit.scenarios import usual
from kit.scenarios.model import Scenario
from kit.slo.objectives import Metric, Objective

ROLLING_DEPLOY = Scenario(
    name="rolling-deploy",
    title="A rolling deployment under load",
    hypothesis=(
        "When every task of the API is replaced while orders come in, nobody notices: each order is acknowledged as "
        "fast as ever, sequenced and filled exactly once, and streams are taken up again where they broke off."
    ),
    template_output="RollingDeployTemplateId",
    actions=("aws:ssm:start-automation-execution",),
    objectives=(
        *usual.STEADY,
        # Twice as many tasks as usual start and serve on the same few processors of a laptop.
        Objective(metric=Metric.LATENCY_MS_P95, phase="during", limit=500),
        # A task that leaves finishes what it has accepted, and gets nothing more: not one request is lost.
        Objective(metric=Metric.ERROR_RATE, phase="during", limit=0.002),
        Objective(metric=Metric.AVAILABILITY, phase="during", limit=1.0),
        # A stream ends with its task.
        Objective(metric=Metric.RECONNECT_MS_MAX, phase="during", limit=5_000),
        Objective(metric=Metric.TIME_TO_FIRST_FILL_MS_P95, phase="during", limit=2_000),
        Objective(metric=Metric.RECOVERY_S, phase="recovery", limit=5),
        Objective(metric=Metric.AVAILABILITY, phase="recovery", limit=1.0),
        *usual.HEALED,
    ),
    touches=("ecs", "alb", "fis", "ssm", "cloudwatch"),
    steady_s=15,
    # The automation waits for the deployment to end, however long that takes, and at least so long.
    fault_duration_s=25,
    recovery_s=10,
    rate_per_s=48,
    clients=40,
    load=usual.LOAD,
    # Clients must not notice at all, so a tenth of errors for half a minute is reason enough to stop.
    stack={**usual.STACK, "GuardrailErrorRate": "0.1", "GuardrailP95Ms": "2000"},
    evidence={"Deploy": "api-replaced"},
    brief={"steady_s": 8, "fault_duration_s": 22, "recovery_s": 8, "rate_per_s": 32},
)

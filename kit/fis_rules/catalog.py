"""List every action of AWS FIS as data. Source: the actions reference of the FIS user guide."""

from collections.abc import Mapping

from kit.fis_rules.specs import ActionSpec, DurationLimits, parameter_specs


def _action(action_id: str, targets: str, parameters: str, description: str) -> ActionSpec:
    slots = dict(each.split("=") for each in targets.split())
    return ActionSpec(id=action_id, description=description, targets=slots, parameters=parameter_specs(parameters))


_TASKS = "Tasks=aws:ecs:task"
_ECS_NETWORK = "installDependencies?:boolean useEcsFaultInjectionEndpoints?:boolean"
_PODS = "Pods=aws:eks:pod"
_POD = (
    "kubernetesServiceAccount:text fisPodContainerImage?:text fisPodLabels?:text fisPodAnnotations?:text "
    "fisPodSecurityPolicy?:text maxErrorsPercent?:percent"
)
_STRESS = f"duration:duration percent?:percent workers?:count {_POD}"
_ROLES = "Roles=aws:iam:role"
_API_ERROR = "duration:duration service:ec2|kinesis percentage:percent operations:list"
_FUNCTIONS = "Functions=aws:lambda:function"
_STREAMS = "KinesisStreams=aws:kinesis:stream"
_SUBNETS = "Subnets=aws:ec2:subnet"
_INSTANCES = "Instances=aws:ec2:instance"
_VOLUMES = "Volumes=aws:ec2:ebs-volume"
_TRAFFIC = "port:port trafficType:ingress|egress protocol?:tcp|udp"
_SCOPES = "all|availability-zone|dynamodb|prefix-list|s3|s3express|vpc"

_ALARM_STATES = "alarmArns:arns alarmStates:list:OK|ALARM|INSUFFICIENT_DATA"

_ALL = (
    _action("aws:fis:inject-api-internal-error", _ROLES, _API_ERROR, "Internal errors for calls by a role"),
    _action("aws:fis:inject-api-throttle-error", _ROLES, _API_ERROR, "Throttling errors for calls by a role"),
    _action("aws:fis:inject-api-unavailable-error", _ROLES, _API_ERROR, "Unavailable errors for calls by a role"),
    _action("aws:fis:wait", "", "duration:duration", "Wait for the specified duration"),
    _action("aws:cloudwatch:assert-alarm-state", "", _ALARM_STATES, "Assert alarm states"),
    _action(
        "aws:arc:start-zonal-autoshift",
        "ManagedResources=aws:arc:zonal-shift-managed-resource",
        "duration:duration availabilityZoneIdentifier:text managedResourceTypes?:list zonalAutoshiftStatus?:list",
        "Shift traffic away from an Availability Zone",
    ),
    _action(
        "aws:dynamodb:global-table-pause-replication",
        "Tables=aws:dynamodb:global-table",
        "duration:duration",
        "Pause the replication of global tables",
    ),
    _action(
        "aws:dsql:cluster-connection-failure",
        "Clusters=aws:dsql:cluster",
        "duration:duration percentage:percent",
        "Connection failures of Aurora DSQL clusters",
    ),
    _action("aws:ebs:pause-volume-io", _VOLUMES, "duration:duration", "Pause I/O of EBS volumes"),
    _action(
        "aws:ebs:volume-io-latency",
        _VOLUMES,
        "duration:duration readIOPercentage?:decimal readIOLatencyMilliseconds?:milliseconds "
        "writeIOPercentage?:decimal writeIOLatencyMilliseconds?:milliseconds",
        "I/O latency of EBS volumes",
    ),
    _action(
        "aws:ec2:api-insufficient-instance-capacity-error",
        _ROLES,
        "duration:duration availabilityZoneIdentifiers:list percentage:percent",
        "InsufficientInstanceCapacity errors for calls by a role",
    ),
    _action(
        "aws:ec2:asg-insufficient-instance-capacity-error",
        "AutoScalingGroups=aws:ec2:autoscaling-group",
        "duration:duration availabilityZoneIdentifiers:list percentage?:percent",
        "InsufficientInstanceCapacity errors for Auto Scaling groups",
    ),
    _action("aws:ec2:reboot-instances", _INSTANCES, "", "Reboot EC2 instances"),
    _action(
        "aws:ec2:send-spot-instance-interruptions",
        "SpotInstances=aws:ec2:spot-instance",
        "durationBeforeInterruption:duration",
        "Interrupt Spot Instances",
    ),
    _action(
        "aws:ec2:stop-instances",
        _INSTANCES,
        "startInstancesAfterDuration?:duration completeIfInstancesTerminated?:boolean",
        "Stop EC2 instances",
    ),
    _action("aws:ec2:terminate-instances", _INSTANCES, "", "Terminate EC2 instances"),
    _action(
        "aws:ecs:drain-container-instances",
        "Clusters=aws:ecs:cluster",
        "drainagePercentage:percent duration:duration",
        "Drain container instances",
    ),
    _action("aws:ecs:stop-task", _TASKS, "", "Stop ECS tasks"),
    _action(
        "aws:ecs:task-cpu-stress",
        _TASKS,
        "duration:duration percent?:percent workers?:count installDependencies?:boolean",
        "CPU stress in ECS tasks",
    ),
    _action(
        "aws:ecs:task-io-stress",
        _TASKS,
        "duration:duration percent?:percent workers?:count installDependencies?:boolean",
        "I/O stress in ECS tasks",
    ),
    _action(
        "aws:ecs:task-kill-process",
        _TASKS,
        "processName:text signal?:text installDependencies?:boolean",
        "Kill a process in ECS tasks",
    ),
    _action(
        "aws:ecs:task-network-blackhole-port",
        _TASKS,
        f"duration:duration {_TRAFFIC} {_ECS_NETWORK}",
        "Drop the traffic of a port of ECS tasks",
    ),
    _action(
        "aws:ecs:task-network-latency",
        _TASKS,
        "duration:duration delayMilliseconds?:milliseconds jitterMilliseconds?:milliseconds "
        f"flowsPercent?:percent sources?:list {_ECS_NETWORK}",
        "Network latency of ECS tasks",
    ),
    _action(
        "aws:ecs:task-network-packet-loss",
        _TASKS,
        f"duration:duration lossPercent?:percent flowsPercent?:percent sources?:list {_ECS_NETWORK}",
        "Packet loss of ECS tasks",
    ),
    _action(
        "aws:eks:inject-kubernetes-custom-resource",
        "Cluster=aws:eks:cluster",
        "maxDuration:duration kubernetesApiVersion:text kubernetesKind:text kubernetesNamespace:text "
        "kubernetesSpec:text",
        "Run a Kubernetes custom resource of a chaos tool",
    ),
    _action("aws:eks:pod-cpu-stress", _PODS, _STRESS, "CPU stress in pods"),
    _action("aws:eks:pod-delete", _PODS, f"gracePeriodSeconds?:count {_POD}", "Delete pods"),
    _action("aws:eks:pod-io-stress", _PODS, _STRESS, "I/O stress in pods"),
    _action(
        "aws:eks:pod-memory-stress", _PODS, _STRESS, "Memory stress in pods"
    ),
    _action(
        "aws:eks:pod-network-blackhole-port",
        _PODS,
        f"duration:duration {_TRAFFIC} {_POD}",
        "Drop the traffic of a port of pods",
    ),
    _action(
        "aws:eks:pod-network-latency",
        _PODS,
        "duration:duration delayMilliseconds?:milliseconds jitterMilliseconds?:milliseconds flowsPercent?:percent "
        f"interface?:list sources?:list {_POD}",
        "Network latency of pods",
    ),
    _action(
        "aws:eks:pod-network-packet-loss",
        _PODS,
        f"duration:duration lossPercent?:percent flowsPercent?:percent interface?:list sources?:list {_POD}",
        "Packet loss of pods",
    ),
    _action(
        "aws:eks:terminate-nodegroup-instances",
        "Nodegroups=aws:eks:nodegroup",
        "instanceTerminationPercentage:percent",
        "Terminate instances of node groups",
    ),
    _action(
        "aws:elasticache:replicationgroup-interrupt-az-power",
        "ReplicationGroups=aws:elasticache:replicationgroup",
        "duration:duration",
        "Interrupt power to cache nodes in an Availability Zone",
    ),
    _action(
        "aws:kinesis:stream-provisioned-throughput-exception",
        _STREAMS,
        "duration:duration percentage:percent",
        "Throughput errors of Kinesis streams",
    ),
    _action(
        "aws:kinesis:stream-expired-iterator-exception",
        _STREAMS,
        "duration:duration percentage:percent",
        "Expired iterator errors of Kinesis streams",
    ),
    _action(
        "aws:lambda:invocation-add-delay",
        _FUNCTIONS,
        "duration:duration invocationPercentage?:percent startupDelayMilliseconds?:milliseconds",
        "Delay the start of Lambda invocations",
    ),
    _action(
        "aws:lambda:invocation-error",
        _FUNCTIONS,
        "duration:duration invocationPercentage?:percent preventExecution:boolean",
        "Fail Lambda invocations",
    ),
    _action(
        "aws:lambda:invocation-http-integration-response",
        _FUNCTIONS,
        "duration:duration invocationPercentage?:percent contentTypeHeader:text statusCode:count "
        "preventExecution:boolean",
        "Change the HTTP answer of Lambda invocations",
    ),
    _action(
        "aws:memorydb:multi-region-cluster-pause-replication",
        "MultiRegionClusters=aws:memorydb:multi-region-cluster",
        "duration:duration region:text",
        "Pause the replication of MemoryDB clusters",
    ),
    _action(
        "aws:network:disrupt-connectivity",
        _SUBNETS,
        f"duration:duration scope:{_SCOPES} prefixListIdentifier?:text",
        "Deny traffic of subnets",
    ),
    _action(
        "aws:network:disrupt-vpc-endpoint",
        "VPCEndpoints=aws:ec2:vpc-endpoint",
        "duration:duration",
        "Deny traffic of VPC endpoints",
    ),
    _action(
        "aws:network:route-table-disrupt-cross-region-connectivity",
        _SUBNETS,
        "region:text duration:duration",
        "Block traffic from subnets to a Region",
    ),
    _action(
        "aws:network:transit-gateway-disrupt-cross-region-connectivity",
        "TransitGateways=aws:ec2:transit-gateway",
        "region:text duration:duration",
        "Block transit gateway peering traffic to a Region",
    ),
    _action("aws:rds:failover-db-cluster", "Clusters=aws:rds:cluster", "", "Fail Aurora clusters over"),
    _action("aws:rds:reboot-db-instances", "DBInstances=aws:rds:db", "forceFailover?:boolean", "Reboot DB instances"),
    _action(
        "aws:s3:bucket-pause-replication",
        "Buckets=aws:s3:bucket",
        "duration:duration region:text destinationBuckets?:list prefixes?:list",
        "Pause the replication of buckets",
    ),
    _action(
        "aws:ssm:send-command",
        _INSTANCES,
        "documentArn:arn documentVersion?:text documentParameters?:text duration:duration",
        "Run an SSM document on instances",
    ),
    _action(
        "aws:ssm:start-automation-execution",
        "",
        "documentArn:arn documentVersion?:text documentParameters?:text maxDuration:duration",
        "Run an SSM automation",
    ),
    _action(
        "aws:directconnect:virtual-interface-disconnect",
        "VirtualInterfaces=aws:directconnect:virtual-interface",
        "duration:duration",
        "Disconnect virtual interfaces",
    ),
)  # fmt: skip

ACTIONS: Mapping[str, ActionSpec] = {spec.id: spec for spec in _ALL}

# The quota on the duration of an action and of a whole experiment.
DURATION_S_MAX = 12 * 3600.0

_COMMON_LIMITS = DurationLimits(low_s=60.0, high_s=DURATION_S_MAX, words="PT1M to PT12H")
_LIMITS: Mapping[tuple[str, str], DurationLimits] = {
    ("aws:ebs:pause-volume-io", "duration"): DurationLimits(low_s=1.0, high_s=DURATION_S_MAX, words="PT1S to PT12H"),
    ("aws:ec2:send-spot-instance-interruptions", "durationBeforeInterruption"): DurationLimits(
        low_s=120.0, high_s=900.0, words="PT2M to PT15M"
    ),
}


def duration_limits(action_id: str, name: str) -> DurationLimits:
    """Return what AWS accepts for one duration parameter of an action."""
    return _LIMITS.get((action_id, name), _COMMON_LIMITS)


# Ids that AWS documented in the past → their names today.
STALE_IDS: Mapping[str, str] = {
    "aws:elasticache:interrupt-cluster-az-power": "aws:elasticache:replicationgroup-interrupt-az-power",
    "aws:eks:terminate-nodegroup-instance": "aws:eks:terminate-nodegroup-instances",
}

# Actions that the local AWS performs too. A test demands that these are the keys of `kit.local.fis.actions.ACTIONS`,
# which the import contracts keep out of reach here.
REHEARSABLE = frozenset(
    {
        "aws:arc:start-zonal-autoshift",
        "aws:cloudwatch:assert-alarm-state",
        "aws:dynamodb:global-table-pause-replication",
        "aws:ecs:stop-task",
        "aws:ecs:task-cpu-stress",
        "aws:ecs:task-kill-process",
        "aws:ecs:task-network-blackhole-port",
        "aws:ecs:task-network-latency",
        "aws:ecs:task-network-packet-loss",
        "aws:fis:wait",
        "aws:lambda:invocation-add-delay",
        "aws:lambda:invocation-error",
        "aws:lambda:invocation-http-integration-response",
        "aws:network:disrupt-connectivity",
        "aws:network:disrupt-vpc-endpoint",
        "aws:network:route-table-disrupt-cross-region-connectivity",
        "aws:ssm:start-automation-execution",
    }
)

# Actions that break nothing, and so have no effect to prove.
HARMLESS = frozenset({"aws:fis:wait", "aws:cloudwatch:assert-alarm-state"})

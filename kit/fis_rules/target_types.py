"""List every target type of AWS FIS with its parameters. Source: "Targets for AWS FIS" in the user guide."""

from collections.abc import Mapping

from kit.fis_rules.specs import TargetType, parameter_specs


def _target(description: str, parameters: str = "", *, supports_tags: bool = True) -> TargetType:
    return TargetType(description=description, parameters=parameter_specs(parameters), supports_tags=supports_tags)


TARGET_TYPES: Mapping[str, TargetType] = {
    "aws:arc:zonal-shift-managed-resource": _target("ARC zonal shift managed resource"),
    "aws:directconnect:virtual-interface": _target("Direct Connect virtual interface"),
    "aws:dsql:cluster": _target("Aurora DSQL cluster"),
    "aws:dynamodb:global-table": _target("DynamoDB global table"),
    "aws:ec2:autoscaling-group": _target("EC2 Auto Scaling group"),
    "aws:ec2:ebs-volume": _target("EBS volume", "availabilityZoneIdentifier?:text"),
    "aws:ec2:instance": _target("EC2 instance"),
    "aws:ec2:spot-instance": _target("EC2 Spot Instance"),
    "aws:ec2:subnet": _target("VPC subnet", "availabilityZoneIdentifier?:text vpc?:text"),
    "aws:ec2:transit-gateway": _target("Transit gateway"),
    "aws:ec2:vpc-endpoint": _target("VPC endpoint"),
    "aws:ecs:cluster": _target("ECS cluster"),
    "aws:ecs:task": _target("ECS task", "cluster?:text service?:text"),
    "aws:eks:cluster": _target("EKS cluster"),
    "aws:eks:nodegroup": _target("EKS node group"),
    "aws:eks:pod": _target(
        "Kubernetes pod",
        "clusterIdentifier:text namespace:text selectorType:labelSelector|deploymentName|podName selectorValue:text "
        "availabilityZoneIdentifier?:text targetContainerName?:text",
        supports_tags=False,
    ),
    "aws:elasticache:replicationgroup": _target("ElastiCache replication group", "availabilityZoneIdentifier?:text"),
    "aws:iam:role": _target("IAM role"),
    "aws:kinesis:stream": _target("Kinesis data stream"),
    "aws:lambda:function": _target("Lambda function", "functionQualifier?:text"),
    "aws:memorydb:multi-region-cluster": _target("MemoryDB multi-Region cluster"),
    "aws:rds:cluster": _target("Aurora DB cluster", "writerAvailabilityZoneIdentifiers?:text"),
    "aws:rds:db": _target("RDS DB instance", "availabilityZoneIdentifiers?:text"),
    "aws:s3:bucket": _target("S3 bucket"),
}

# Names that AWS documented in the past → their names today.
STALE_TYPES: Mapping[str, str] = {
    "aws:elasticache:redis-replicationgroup": "aws:elasticache:replicationgroup",
}

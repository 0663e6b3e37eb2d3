"""Answer the ECS API: clusters, task definitions, services, tasks, protection and deployments."""

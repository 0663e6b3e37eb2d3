"""Make CloudFormation refuse the properties that nothing reads."""

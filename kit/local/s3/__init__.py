"""S3 of the local AWS: MiniStack's, with corrections of its buckets in CloudFormation."""

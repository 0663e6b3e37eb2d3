"""AppConfig of the local AWS."""

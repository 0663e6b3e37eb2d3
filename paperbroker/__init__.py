"""PaperBroker: a paper-trading exchange on AWS, the system under test. Never imports the kit."""

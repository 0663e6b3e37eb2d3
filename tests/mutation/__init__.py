"""Mutation testing of PaperBroker: make small faulty changes, run the fast tests, and list what no test notices."""

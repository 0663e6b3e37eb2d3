"""Judge a running PaperBroker in seconds, in a Lambda function: its metrics, and the last minutes of its ledger.

Standard library and boto3 only. The rules of the ledger are those of `kit.ledger_rules`. A pass here never makes a
run pass: it decides whether to go on, and the judge sees everything.
"""

"""Decide, before a service sees a request, whether the local AWS honours it.

Botocore's model of the service says how the request is read and what AWS accepts. A file `honoured.yaml` beside each
room (or in `passed_through/`, for services that only MiniStack serves) says which operations and members are honoured.
Everything else is refused by name.
"""

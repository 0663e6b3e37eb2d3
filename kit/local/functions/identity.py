"""Give each execution environment the credentials of its function's role, and find its endpoint by them."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field

from ministack.core.responses import request_scope
from ministack.services import ec2, sts

from kit.local.endpoints import FUNCTION, Endpoint
from kit.local.functions.definition import Definition
from kit.local.links import Links
from kit.local.patching import require

# The second and the other bytes of the local addresses of environments. All of 127.0.0.0/8 is this machine.
NETWORKS = range(16, 250)
HOSTS = 250

require(sts, "_sessions", "_role_id", "register_session")
require(ec2, "_subnets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The credentials of one environment: a session of the function's role that is named like the function."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    endpoint: Endpoint
    # The local address that the environment's connections come from.
    address: str

    def variables(self) -> dict[str, str]:
        """Return the environment variables that hold the credentials."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_SESSION_TOKEN": self.token,
        }


class Identities:
    """The identities of all environments of one cloud."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._endpoints: dict[str, Endpoint] = {}
        # Clouds of one machine draw different networks, so that none takes another's functions for its own.
        self._network = NETWORKS.start + secrets.randbelow(len(NETWORKS))
        self._issued = 0

    def issue(self, definition: Definition, endpoint: Endpoint) -> Identity:
        """Make an identity and let STS know it, as if the role had been assumed."""
        key = f"ASIA{base64.b32encode(secrets.token_bytes(10)).decode()}"
        address = f"127.{self._network}.{self._issued // HOSTS % HOSTS}.{self._issued % HOSTS + 1}"
        self._issued += 1
        identity = Identity(
            access_key=key, secret_key=secrets.token_urlsafe(30), token=secrets.token_urlsafe(96), endpoint=endpoint,
            address=address,
        )  # fmt: skip
        role_name = definition.role.rpartition("/")[2]
        session = {
            "Arn": f"arn:aws:sts::{definition.account}:assumed-role/{role_name}/{definition.name}",
            "UserId": f"{sts._role_id(definition.role)}:{definition.name}",
            "SecretAccessKey": identity.secret_key,
            "SessionToken": identity.token,
        }
        sts.register_session(key, session)
        self._endpoints[key] = endpoint
        self._links.place(address, endpoint)
        return identity

    def revoke(self, identity: Identity) -> None:
        """Forget an identity: calls that are signed with it are refused from now on."""
        sts._sessions.pop(identity.access_key, None)
        self._endpoints.pop(identity.access_key, None)
        self._links.place(identity.address, None)

    def endpoint_of_key(self, access_key: str) -> Endpoint | None:
        """Return the endpoint of the environment with this access key, or None."""
        return self._endpoints.get(access_key)


def endpoint_of(definition: Definition, taken: int) -> Endpoint:
    """Return the endpoint of the next environment of a function, of which `taken` were placed before it.

    In a VPC the environments take turns in the function's subnets; other functions are in no zone.
    """
    place = {}
    if definition.subnets:
        with request_scope(definition.account, definition.region):
            subnet = ec2._subnets.get(definition.subnets[taken % len(definition.subnets)]) or {}
        place = {
            "zone": subnet.get("AvailabilityZone", ""), "subnet": subnet.get("SubnetId", ""),
            "vpc": subnet.get("VpcId", ""),
        }  # fmt: skip
    return Endpoint(kind=FUNCTION, id=definition.name, service=definition.name, **place)

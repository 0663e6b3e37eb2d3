"""Make sessions: clients by service name, with bounded time-outs, for accounts on the allow-list."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kit.aws.loopback import LOOPBACK, no_proxy
from kit.errors import CloudError, UnsafeTarget, UsageError

if TYPE_CHECKING:
    import boto3

LOCAL = "local"
AWS = "aws"
ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL"
# Comma-separated ids of the accounts in which game days may run.
ACCOUNTS_VARIABLE = "GAMEDAY_ACCOUNTS"
ACCOUNT_ID = re.compile(r"\d{12}")
LOCAL_ACCOUNT_ID = "000000000000"
ACCESS_KEY_VARIABLE = "AWS_ACCESS_KEY_ID"
SECRET_KEY_VARIABLE = "AWS_SECRET_ACCESS_KEY"
# Variables that would keep an AWS tool from using the local AWS's credentials.
MISLEADING_VARIABLES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")

CONNECT_TIMEOUT_S = 3
# An SQS long poll alone takes 20 s.
READ_TIMEOUT_S = 30
# botocore's standard mode also retries throttled calls, with exponential back-off and jitter of at most 20 s.
ATTEMPTS_MAX = 4
CONNECTIONS_MAX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An access key of a local AWS and its secret, which is never printed."""

    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The destination of AWS calls. Thread-safe. `endpoint` is "" and `credentials` is None for AWS itself."""

    region: str
    account_id: str
    endpoint: str = ""
    credentials: Credentials | None = None
    boto: boto3.Session = field(repr=False)
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def client(self, name: str) -> Any:
        """Return the client of one service, which is made once."""
        with self._lock:  # clients are thread-safe, boto3 sessions are not
            if name not in self._clients:
                self._clients[name] = self.boto.client(
                    name, endpoint_url=self.endpoint or None, config=_config(local=bool(self.endpoint))
                )
            return self._clients[name]

    def environment(self) -> dict[str, str]:
        """Return the variables that a child process needs, in addition to the caller's, to reach the same AWS."""
        if self.credentials is None:
            return {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}
        return local_environment(self.endpoint, self.region, self.credentials)


def session(*, target: str, region: str) -> Session:
    """Make a session for `target`.

    `local` uses the endpoint and the credentials in the environment; the endpoint must be on this machine. `aws` raises
    UnsafeTarget unless the account of the credentials is in the list in `GAMEDAY_ACCOUNTS`, and UsageError if the
    environment sets an endpoint.
    """
    endpoint = os.environ.get(ENDPOINT_VARIABLE, "")
    if target == LOCAL:
        _check_loopback(endpoint)
        return local_session(endpoint, region, _environment_credentials())
    if target != AWS:
        raise UsageError(f"target={target!r} is not one of {LOCAL}, {AWS}")
    if endpoint:
        raise UsageError(f"target={AWS!r} but the endpoint is {endpoint}: unset {ENDPOINT_VARIABLE}")
    return _guarded(region, _allowed_accounts())


def task_session() -> Session:
    """Make a session for a task or function in AWS or the local AWS, with the role, Region and endpoint given to it.

    Who deployed the task has checked its account.
    """
    import boto3

    boto = boto3.Session()
    endpoint = os.environ.get(ENDPOINT_VARIABLE, "")
    return Session(region=boto.region_name or "", account_id="", endpoint=endpoint, boto=boto)


def local_session(endpoint: str, region: str, credentials: Credentials) -> Session:
    """Make a session for a running local AWS, without the user's AWS configuration."""
    _check_loopback(endpoint)
    import boto3
    import botocore.session

    unset = (None, None, os.devnull, None)
    core = botocore.session.Session(
        session_vars={"config_file": unset, "credentials_file": unset, "profile": (None, None, None, None)}
    )
    boto = boto3.Session(
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        region_name=region,
        botocore_session=core,
    )
    return Session(region=region, account_id=LOCAL_ACCOUNT_ID, endpoint=endpoint, credentials=credentials, boto=boto)


def local_environment(endpoint: str, region: str, credentials: Credentials) -> dict[str, str]:
    """Return variables with which any AWS tool calls the local AWS, and nothing else."""
    return {
        ENDPOINT_VARIABLE: endpoint,
        ACCESS_KEY_VARIABLE: credentials.access_key,
        SECRET_KEY_VARIABLE: credentials.secret_key,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        **no_proxy(os.environ),
    }


def _check_loopback(endpoint: str) -> None:
    if urlsplit(endpoint).hostname != LOOPBACK:
        raise CloudError(f"local endpoint {endpoint or '(none)'} is not on {LOOPBACK}; is {ENDPOINT_VARIABLE} set?")


def _environment_credentials() -> Credentials:
    names = (ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE)
    access_key, secret_key = (os.environ.get(name, "") for name in names)
    if not (access_key and secret_key):
        raise CloudError(f'{" and ".join(names)} are not set; eval "$(gameday cloud env)" sets them')
    return Credentials(access_key=access_key, secret_key=secret_key)


def _guarded(region: str, accounts: frozenset[str]) -> Session:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        boto = boto3.Session(region_name=region)
        found = boto.client("sts", config=_config(local=False)).get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise CloudError(f"target={AWS!r} region={region}: the credentials do not work: {error}") from error
    if found not in accounts:
        raise UnsafeTarget(f"account {found} is not on the allow-list ({', '.join(sorted(accounts))})")
    return Session(region=region, account_id=found, boto=boto)


def _allowed_accounts() -> frozenset[str]:
    parts = os.environ.get(ACCOUNTS_VARIABLE, "").split(",")
    accounts = [account for part in parts if (account := part.strip())]
    wrong = [account for account in accounts if not ACCOUNT_ID.fullmatch(account)]
    if wrong:
        raise UsageError(f"{ACCOUNTS_VARIABLE}: {', '.join(wrong)} is not a 12-digit account id")
    if not accounts:
        raise UnsafeTarget(f"no account is allowed: set {ACCOUNTS_VARIABLE} to the accounts in which game days may run")
    return frozenset(accounts)


def _config(*, local: bool) -> Any:
    from botocore.config import Config

    return Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS_MAX},
        max_pool_connections=CONNECTIONS_MAX,
        user_agent_extra="gameday",
        # Calls to this machine must not go through a proxy from the environment. Calls to AWS may need one.
        proxies={} if local else None,
        # AWS_ENDPOINT_URL_<SERVICE> in the environment would redirect a single service.
        ignore_configured_endpoint_urls=True,
    )

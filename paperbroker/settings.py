"""Settings of a task, read once from the environment at the composition root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from paperbroker.errors import SettingsError

DEFAULT_PORT = 8080
DEFAULT_FLAGS_POLL_S = 15.0
FLAGS_POLL_S_MAX = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Names of the DynamoDB tables."""

    orders: str
    outbox: str
    ledger: str
    markets: str
    positions: str
    applied: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagSource:
    """Where the feature flags are in AppConfig (ids), and the polling interval."""

    application: str
    environment: str
    profile: str
    poll_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one task. `metadata_uri` is the ECS task metadata endpoint, "" outside ECS."""

    env: str
    run_id: str
    region: str
    markets: tuple[str, ...]
    tables: Tables
    queue_url: str
    metrics_namespace: str
    host: str
    port: int
    metadata_uri: str
    log_level: str
    flags: FlagSource | None = None


def from_environment(env: Mapping[str, str]) -> Settings:
    """Read the settings from `env`. Raises SettingsError for the first variable that is missing or invalid."""
    return Settings(
        env=env.get("PB_ENV", "gameday"),
        run_id=env.get("PB_RUN_ID", "none"),
        region=env.get("AWS_REGION") or _required(env, "AWS_DEFAULT_REGION"),
        markets=_markets(_required(env, "PB_MARKETS")),
        tables=Tables(
            orders=_required(env, "PB_ORDERS_TABLE"),
            outbox=_required(env, "PB_OUTBOX_TABLE"),
            ledger=_required(env, "PB_LEDGER_TABLE"),
            markets=_required(env, "PB_MARKETS_TABLE"),
            positions=_required(env, "PB_POSITIONS_TABLE"),
            applied=_required(env, "PB_APPLIED_TABLE"),
        ),
        queue_url=_required(env, "PB_QUEUE_URL"),
        metrics_namespace=env.get("PB_METRICS_NAMESPACE", "PaperBroker"),
        host=_host(env),
        port=_port(env.get("PORT", str(DEFAULT_PORT))),
        metadata_uri=env.get("ECS_CONTAINER_METADATA_URI_V4", ""),
        log_level=env.get("PB_LOG_LEVEL", "INFO"),
        flags=_flags(env),
    )


def _required(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def _flags(env: Mapping[str, str]) -> FlagSource | None:
    """Return None if no id is given. Giving only some of the ids is an error."""
    names = ("PB_FLAGS_APPLICATION", "PB_FLAGS_ENVIRONMENT", "PB_FLAGS_PROFILE")
    if not any(env.get(name) for name in names):
        return None
    application, environment, profile = (_required(env, name) for name in names)
    return FlagSource(application=application, environment=environment, profile=profile, poll_s=_flags_poll_s(env))


def _flags_poll_s(env: Mapping[str, str]) -> float:
    text = env.get("PB_FLAGS_POLL_S") or str(DEFAULT_FLAGS_POLL_S)
    try:
        poll_s = float(text)
    except ValueError:
        poll_s = 0.0
    if not 0 < poll_s <= FLAGS_POLL_S_MAX:
        raise SettingsError(f"PB_FLAGS_POLL_S={text!r} must be a number over 0, at most {FLAGS_POLL_S_MAX:g}")
    return poll_s


def _markets(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names or len(set(names)) != len(names):
        raise SettingsError(f"PB_MARKETS={text!r} must name at least one market, each once")
    return names


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise SettingsError(f"PORT={text!r} must be an integer from 0 to 65535")
    return int(text)


def _host(env: Mapping[str, str]) -> str:
    """Listen on all addresses, or on loopback only where the AWS endpoint is on loopback."""
    on_loopback = "//127.0.0.1" in env.get("AWS_ENDPOINT_URL", "")
    return env.get("PB_HOST") or ("127.0.0.1" if on_loopback else "0.0.0.0")

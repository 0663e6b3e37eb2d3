"""Delay, lose, reset or block traffic between two endpoints.

HTTP, WebSocket frames and AWS calls all pass through `Links.carry`, once for the request leg and once for the reply
leg. A rule that is added after a request was applied therefore affects only the reply. Randomness is seeded.
"""

import asyncio
import random
from collections.abc import Collection
from dataclasses import dataclass

from kit.errors import KitError, UsageError
from kit.local.endpoints import ADMIN, INTERNET, Endpoint

# A lost packet costs a retransmission, as in TCP: 200 ms, doubled for each further loss in a row.
RETRANSMIT_MS = 200.0
# Loss adds at most 200 · (2^6 − 1) ms = 12.6 s to one leg. Use `blackhole` for a total loss.
RETRANSMITS_MAX = 6
# Bounds the cache of routes. Endpoints are few (tasks, nodes, services), so a run never reaches it.
ROUTES_REMEMBERED_MAX = 4096


class LinkReset(KitError):
    """A rule reset this leg. The caller treats it as a connection reset by the peer."""

    @classmethod
    def by(cls, rule: "LinkRule", src: Endpoint, dst: Endpoint) -> "LinkReset":
        """Create the error, which names the rule and both ends."""
        return cls(f"link rule {rule.name!r} reset {_label(src)} → {_label(dst)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Select endpoints. An empty field accepts any value; a `not_*` field accepts everything outside its set."""

    kinds: Collection[str] = frozenset()
    zones: Collection[str] = frozenset()
    subnets: Collection[str] = frozenset()
    vpcs: Collection[str] = frozenset()
    services: Collection[str] = frozenset()
    regions: Collection[str] = frozenset()
    ids: Collection[str] = frozenset()
    not_zones: Collection[str] = frozenset()
    not_subnets: Collection[str] = frozenset()

    def __post_init__(self) -> None:
        """Store frozen sets. Raises UsageError for a bare string, which would match its letters."""
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, str):
                raise UsageError(f"Match.{name}={value!r} must be a collection of strings")
            object.__setattr__(self, name, frozenset(value))

    def accepts(self, endpoint: Endpoint) -> bool:
        """Return whether every non-empty field agrees with the endpoint."""
        return (
            (not self.kinds or endpoint.kind in self.kinds)
            and (not self.zones or endpoint.zone in self.zones)
            and (not self.subnets or endpoint.subnet in self.subnets)
            and (not self.vpcs or endpoint.vpc in self.vpcs)
            and (not self.services or endpoint.service in self.services)
            and (not self.regions or endpoint.region in self.regions)
            and (not self.ids or endpoint.id in self.ids)
            and endpoint.zone not in self.not_zones
            and endpoint.subnet not in self.not_subnets
        )


ANYWHERE = Match()
_LIMITS = (("delay_ms", 600_000.0), ("jitter_ms", 600_000.0), ("loss_pct", 100.0), ("flows_pct", 100.0))


@dataclass(slots=True, kw_only=True, eq=False)
class LinkRule:
    """Impair every leg from `src` to `dst`, and back when `both_ways`.

    `jitter_ms` spreads the delay evenly by that much in both directions. `flows_pct` is the share of legs that are
    impaired, drawn for each leg; a blackhole takes all of them. `touched` counts the impaired legs and `held` those
    that are blocked now. They are evidence that a fault took effect. The other fields are set once.
    """

    name: str
    src: Match = ANYWHERE
    dst: Match = ANYWHERE
    both_ways: bool = True
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_pct: float = 0.0
    flows_pct: float = 100.0
    reset: bool = False
    blackhole: bool = False
    touched: int = 0
    held: int = 0

    def __post_init__(self) -> None:
        """Raise UsageError for values that would silently impair nothing or everything."""
        for field, limit in _LIMITS:
            value = getattr(self, field)
            if not 0.0 <= value <= limit:
                raise UsageError(f"link rule {self.name!r}: {field}={value} must be within 0 and {limit:g}")
        if self.blackhole and self.flows_pct < 100.0:
            # A blocked leg evaluates the rules again when it wakes, so it would be drawn a second time.
            raise UsageError(f"link rule {self.name!r}: a blackhole takes all legs, not flows_pct={self.flows_pct}")

    def applies(self, src: Endpoint, dst: Endpoint) -> bool:
        """Return whether the rule impairs the leg from `src` to `dst`."""
        if self.src.accepts(src) and self.dst.accepts(dst):
            return True
        return self.both_ways and self.src.accepts(dst) and self.dst.accepts(src)


Route = tuple[Endpoint, Endpoint]


class Links:
    """Apply the link rules of one local cloud. Use it from the cloud's event loop only."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"links-{seed}")
        self._rules: dict[str, LinkRule] = {}
        self._routes: dict[Route, tuple[LinkRule, ...]] = {}
        self._added = 0
        self._changed: asyncio.Event | None = None
        self._addresses: dict[str, Endpoint] = {}

    def place(self, address: str, endpoint: Endpoint | None) -> None:
        """Let connections from this local address come from `endpoint`; None forgets the address."""
        if endpoint is None:
            self._addresses.pop(address, None)
        else:
            self._addresses[address] = endpoint

    def endpoint_at(self, address: str) -> Endpoint:
        """Return the endpoint that connects from this local address. Load clients share 127.0.0.1."""
        return self._addresses.get(address, INTERNET)

    def add(self, rule: LinkRule) -> str:
        """Put a rule into force. Returns the id that `remove` takes."""
        self._added += 1
        rule_id = f"link-{self._added}"
        self._rules[rule_id] = rule
        self._forget_routes()
        return rule_id

    def remove(self, rule_id: str) -> None:
        """Remove a rule and release the legs blocked by it. Ignores unknown ids, because an undo may be repeated."""
        if self._rules.pop(rule_id, None) is not None:
            self._forget_routes()

    def rules(self) -> list[LinkRule]:
        """Return the rules in force, oldest first."""
        return list(self._rules.values())

    def is_clear(self, src: Endpoint, dst: Endpoint) -> bool:
        """Return whether no rule touches this leg. Hot paths check this before they create a coroutine."""
        return not self._rules or not self._route(src, dst)

    async def carry(self, src: Endpoint, dst: Endpoint) -> None:
        """Wait until bytes sent from `src` would have arrived at `dst`.

        Raises LinkReset when a rule resets the leg. A blackholed leg waits until no blackhole applies to it, as TCP
        would retransmit until then. Only the caller's own timeout or cancellation bounds that wait.
        """
        if not self._rules:
            return
        rules = self._draw_rules(self._route(src, dst))
        if not rules:
            return
        for rule in rules:
            rule.touched += 1
        if any(rule.blackhole for rule in rules):
            rules = self._draw_rules(await self._wait_until_open(src, dst))
        for rule in rules:
            if rule.reset:
                raise LinkReset.by(rule, src, dst)
        wait_ms = self._draw_delay_ms(rules)
        if wait_ms > 0:
            await asyncio.sleep(wait_ms / 1000)

    async def _wait_until_open(self, src: Endpoint, dst: Endpoint) -> tuple[LinkRule, ...]:
        while True:
            rules = self._route(src, dst)
            holding = [rule for rule in rules if rule.blackhole]
            if not holding:
                return rules
            if self._changed is None:
                self._changed = asyncio.Event()
            for rule in holding:
                rule.held += 1
            try:
                await self._changed.wait()
            finally:
                for rule in holding:
                    rule.held -= 1

    def _draw_rules(self, rules: tuple[LinkRule, ...]) -> tuple[LinkRule, ...]:
        """Draw which of a route's rules impair this leg."""
        if all(rule.flows_pct >= 100.0 for rule in rules):
            return rules
        return tuple(r for r in rules if r.flows_pct >= 100.0 or self._random.random() * 100.0 < r.flows_pct)

    def _draw_delay_ms(self, rules: tuple[LinkRule, ...]) -> float:
        total_ms = 0.0
        for rule in rules:
            total_ms += rule.delay_ms
            if rule.jitter_ms:
                total_ms += max(-rule.delay_ms, self._random.uniform(-rule.jitter_ms, rule.jitter_ms))
            if rule.loss_pct:
                total_ms += self._draw_retransmit_ms(rule.loss_pct)
        return total_ms

    def _draw_retransmit_ms(self, loss_pct: float) -> float:
        total_ms = 0.0
        for lost in range(RETRANSMITS_MAX):
            if self._random.random() * 100.0 >= loss_pct:
                break
            total_ms += RETRANSMIT_MS * 2**lost
        return total_ms

    def _route(self, src: Endpoint, dst: Endpoint) -> tuple[LinkRule, ...]:
        route = self._routes.get((src, dst))
        if route is None:
            if ADMIN in (src.kind, dst.kind):
                route = ()
            else:
                route = tuple(rule for rule in self._rules.values() if rule.applies(src, dst))
            if len(self._routes) >= ROUTES_REMEMBERED_MAX:
                self._routes.clear()
            self._routes[(src, dst)] = route
        return route

    def _forget_routes(self) -> None:
        self._routes.clear()
        # Wake every blocked leg, so that it evaluates the remaining rules.
        if self._changed is not None:
            self._changed.set()
            self._changed = None


def _label(endpoint: Endpoint) -> str:
    return "/".join(part for part in (endpoint.kind, endpoint.service, endpoint.zone, endpoint.id) if part)

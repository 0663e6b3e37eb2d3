"""Links: what happens to one leg of a hop between two places.

Owns the rules (delay, jitter, loss, reset, blackhole) and their seeded randomness. Must not know what is
being carried: HTTP, WebSocket frames and AWS calls all pass through `Links.carry`, once for the request leg
and once for the reply leg, so a cut that comes after a request was applied loses only its reply.
"""

import asyncio
import random
from collections.abc import Collection
from dataclasses import dataclass

from kit.errors import KitError, UsageError
from kit.local.endpoints import ADMIN, Place

# A lost packet costs a retransmission, as TCP would: 200 ms, then doubled for each further loss in a row.
RETRANSMIT_MS = 200.0
# 200 · (2^6 − 1) ms = 12.6 s is the most that loss adds to one leg; a total loss is what `blackhole` is for.
RETRANSMITS_MAX = 6
# Routes remembered per rule set; places are few (tasks, nodes, services), so this is never reached in a run.
ROUTES_REMEMBERED_MAX = 4096


class LinkReset(KitError):
    """A rule reset this leg: the caller treats it as a connection reset by the peer."""

    @classmethod
    def by(cls, rule: "LinkRule", src: Place, dst: Place) -> "LinkReset":
        """Name the rule and both ends."""
        return cls(f"link rule {rule.name!r} reset {_label(src)} → {_label(dst)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A predicate over a place; an empty field accepts anything, `not_*` say "everything outside"."""

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
        """Accept any collection of strings, keep frozen sets; a bare string would match its letters."""
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, str):
                raise UsageError(f"Match.{name}={value!r} must be a collection of strings")
            object.__setattr__(self, name, frozenset(value))

    def accepts(self, place: Place) -> bool:
        """True when every non-empty field agrees with the place."""
        return (
            (not self.kinds or place.kind in self.kinds)
            and (not self.zones or place.zone in self.zones)
            and (not self.subnets or place.subnet in self.subnets)
            and (not self.vpcs or place.vpc in self.vpcs)
            and (not self.services or place.service in self.services)
            and (not self.regions or place.region in self.regions)
            and (not self.ids or place.id in self.ids)
            and place.zone not in self.not_zones
            and place.subnet not in self.not_subnets
        )


ANYWHERE = Match()
_LIMITS = (("delay_ms", 600_000.0), ("jitter_ms", 600_000.0), ("loss_pct", 100.0), ("flows_pct", 100.0))


@dataclass(slots=True, kw_only=True, eq=False)
class LinkRule:
    """One impairment of every leg from `src` to `dst` (and back, when `both_ways`).

    `jitter_ms` spreads the delay evenly by that much either way. `touched` counts the legs that the rule
    impaired and `held` those that hang in it now: the proof that a fault was more than configured.
    `flows_pct` is the share of legs that it impairs, drawn for each leg; a blackhole takes all of them.
    Everything else is set once.
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
        """Refuse values that have no meaning; they would otherwise impair silently nothing or everything."""
        for field, limit in _LIMITS:
            value = getattr(self, field)
            if not 0.0 <= value <= limit:
                raise UsageError(f"link rule {self.name!r}: {field}={value} must be within 0 and {limit:g}")
        if self.blackhole and self.flows_pct < 100.0:
            # A leg that hangs looks at the rules again when it wakes; it would draw its lot a second time.
            raise UsageError(f"link rule {self.name!r}: a blackhole takes all legs, not flows_pct={self.flows_pct}")

    def applies(self, src: Place, dst: Place) -> bool:
        """True when this leg is one that the rule impairs."""
        if self.src.accepts(src) and self.dst.accepts(dst):
            return True
        return self.both_ways and self.src.accepts(dst) and self.dst.accepts(src)


Route = tuple[Place, Place]


class Links:
    """All link rules of one local cloud; used from its event loop only."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"links-{seed}")
        self._rules: dict[str, LinkRule] = {}
        self._routes: dict[Route, tuple[LinkRule, ...]] = {}
        self._added = 0
        self._changed: asyncio.Event | None = None

    def add(self, rule: LinkRule) -> str:
        """Start impairing; returns the id that `remove` takes."""
        self._added += 1
        rule_id = f"link-{self._added}"
        self._rules[rule_id] = rule
        self._forget_routes()
        return rule_id

    def remove(self, rule_id: str) -> None:
        """Stop impairing; whatever hangs in the rule continues. Unknown ids are fine: undo may repeat."""
        if self._rules.pop(rule_id, None) is not None:
            self._forget_routes()

    def rules(self) -> list[LinkRule]:
        """The rules in force, oldest first."""
        return list(self._rules.values())

    def clear(self, src: Place, dst: Place) -> bool:
        """True when no rule touches this leg: hot paths ask this before they create a coroutine."""
        return not self._rules or not self._route(src, dst)

    async def carry(self, src: Place, dst: Place) -> None:
        """Take one leg: returns when the bytes would have arrived.

        Raises `LinkReset` when a rule resets the leg. A blackholed leg hangs until no blackhole is left on it
        (TCP would retransmit until then); only the waiter's own time-out or cancellation bounds that.
        """
        if not self._rules:
            return
        rules = self._hit(self._route(src, dst))
        if not rules:
            return
        for rule in rules:
            rule.touched += 1
        if any(rule.blackhole for rule in rules):
            rules = self._hit(await self._wait_until_open(src, dst))
        for rule in rules:
            if rule.reset:
                raise LinkReset.by(rule, src, dst)
        wait_ms = self._draw_delay_ms(rules)
        if wait_ms > 0:
            await asyncio.sleep(wait_ms / 1000)

    async def _wait_until_open(self, src: Place, dst: Place) -> tuple[LinkRule, ...]:
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

    def _hit(self, rules: tuple[LinkRule, ...]) -> tuple[LinkRule, ...]:
        """Those of a route's rules that impair this leg."""
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

    def _route(self, src: Place, dst: Place) -> tuple[LinkRule, ...]:
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
        # Wake everything that hangs: each waiter looks again at the rules that are left.
        if self._changed is not None:
            self._changed.set()
            self._changed = None


def _label(place: Place) -> str:
    return "/".join(part for part in (place.kind, place.service, place.zone, place.id) if part)

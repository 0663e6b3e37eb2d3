"""Start and stop the local Lambda, and tell the gateway which function makes a call."""

from __future__ import annotations

from pathlib import Path

from kit.local.endpoints import Endpoint
from kit.local.functions import cloudformation, ministack
from kit.local.functions.identity import Identities
from kit.local.functions.invocations import Invocations
from kit.local.functions.pool import Pool
from kit.local.links import Links
from kit.local.patching import Patches

FOLDER = "functions"


class Functions:
    """The Lambda of one local cloud. Use it from its event loop only."""

    def __init__(self, state_dir: Path, endpoint_url: str, links: Links) -> None:
        self._identities = Identities(links)
        self._pool = Pool(state_dir / FOLDER, endpoint_url, self._identities)
        self._invocations = Invocations(self._pool)
        self._patches = Patches()

    async def start(self) -> None:
        """Take the invocations over from MiniStack."""
        ministack.install(self._patches, self._invocations, self._pool.retire)
        cloudformation.install(self._patches)
        self._pool.start()

    async def stop(self) -> None:
        """Drop waiting events, end all environments and put MiniStack's functions back."""
        self._invocations.cancel()
        await self._pool.stop()
        await self._invocations.wait()
        self._patches.undo()

    def endpoint_of_key(self, access_key: str) -> Endpoint | None:
        """Return the endpoint of the execution environment with this access key, or None."""
        return self._identities.endpoint_of_key(access_key)

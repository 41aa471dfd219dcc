"""The end of the server: it takes nothing new, and finishes what it holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

TICK = 0.05


@dataclass
class Ending:
    """Whether the server is to end, and the requests that it holds."""

    begun: bool = False
    at_once: bool = False
    """A second signal: what it holds is given up."""
    held: int = 0

    def signal(self) -> None:
        """What a signal does: the first begins the end, a further one ends at once."""
        self.at_once = self.begun
        self.begun = True

    async def drained(self, seconds: float) -> bool:
        """Wait for the beginning of the end, and then until nothing is held, for `seconds` at most: whether it is so.

        By looking often: a signal's handler may not wake the event loop.
        """
        while not self.begun:
            await asyncio.sleep(TICK)
        until = asyncio.get_running_loop().time() + seconds
        while self.held and not self.at_once and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(TICK)
        return not self.held

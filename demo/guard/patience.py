"""A connection that does not say what it wants is closed: uvicorn waits for a request's head without end."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""How long the head of a request may take; of a later request of one connection, twice as long."""


class PatientProtocol(H11Protocol):
    """Uvicorn's, with an end to its patience. Bodies are timed by `vesalius.demo.guard.guard`."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._waited_after: Any = self.cycle
        self._look: asyncio.TimerHandle = self.loop.call_later(HEAD_SECONDS, self._close_where_nothing_comes)

    def connection_lost(self, exc: Exception | None) -> None:
        self._look.cancel()
        super().connection_lost(exc)

    def _close_where_nothing_comes(self) -> None:
        is_waiting = self.conn.their_state is h11.IDLE
        if is_waiting and self._waited_after is self.cycle:  # no request since the last look
            self.transport.close()
            return
        self._waited_after = self.cycle
        self._look = self.loop.call_later(HEAD_SECONDS, self._close_where_nothing_comes)

"""How often somebody may try to log in: neither may a password be guessed, nor a stranger's tries lock anyone out."""

from __future__ import annotations

import hmac
import secrets
import threading

from vesalius.demo.guard.limits import Limit, unnamed, unnamed_address
from vesalius.demo.store.accounts import enter, sealed
from vesalius.demo.store.schema import Store

DEVICE = "vesalius_device"
"""A cookie by which a browser is known from which somebody has entered before."""
MOST_FROM_ONE, MOST_OF_NAME, MOST_OF_ADDRESS, MOST_IN_ALL, SECONDS = 10, 100, 50, 1000, 300.0
"""Wrong passwords within so long: of one name from one address, or from one known browser; of one name from all
addresses; from one address; in all."""
AT_ONCE, WAIT_SECONDS = 2, 10.0
"""A password takes memory and time to look at; more at once would slow the page for all."""


class Tries:
    """Counts wrong passwords, and keeps no address."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._from_one, self._of_name = Limit(MOST_FROM_ONE, SECONDS), Limit(MOST_OF_NAME, SECONDS)
        self._of_address, self._in_all = Limit(MOST_OF_ADDRESS, SECONDS), Limit(MOST_IN_ALL, SECONDS)
        self._looking = threading.BoundedSemaphore(AT_ONCE)

    def enter(self, name: str, password: str, host: str | None, device: str | None) -> str | None:
        """The secret of a new session; None where name and password do not belong together. BlockingIOError, in words,
        where there were too many tries."""
        limits = self._limits(name, host, device or "")
        if any(limit.is_reached(key) for limit, key in limits):
            raise BlockingIOError("Too many wrong passwords; wait five minutes. 密码错误次数过多，请等待五分钟。")
        for limit, key in limits:  # before the look, so that many at once are not all let through
            limit.add(key)
        if not self._looking.acquire(timeout=WAIT_SECONDS):
            raise BlockingIOError("Many are logging in; try again. 登录人数较多，请重试。")
        try:
            secret = enter(self.store, name, password)
        finally:
            self._looking.release()
        if secret is not None:
            for limit, key in limits:
                limit.forgive(key)
        return secret

    def device(self, name: str) -> str:
        """The cookie of a browser from which this name has entered; a new password ends it."""
        mark = secrets.token_urlsafe(18)
        return f"{mark}.{sealed(self.store, name, mark)}"

    def _limits(self, name: str, host: str | None, device: str) -> list[tuple[Limit, str]]:
        """What a try counts towards: of a known browser its own tries alone."""
        mark, _, seal = device.partition(".")
        if seal and hmac.compare_digest(seal.encode(), sealed(self.store, name, mark).encode()):
            return [(self._from_one, unnamed("device", mark))]
        address = unnamed_address(host)
        return [
            (self._from_one, unnamed(name, address)), (self._of_name, unnamed(name)), (self._of_address, address),
            (self._in_all, ""),
        ]  # fmt: skip

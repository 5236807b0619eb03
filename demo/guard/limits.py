"""How often something may be done within some time. Addresses are counted without being kept."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import threading
import time
from collections import OrderedDict

MOST_KEYS = 20_000
"""Counters that are kept of one limit; the ones that were used longest ago go first."""
_SALT = secrets.token_bytes(32)


def unnamed(*parts: str) -> str:
    """A name for an address, or for that and more, from which it cannot be told: the salt ends with the process."""
    return hmac.new(_SALT, "\0".join(parts).encode(errors="replace"), hashlib.sha256).hexdigest()


class Limit:
    """At most `most` times within `seconds`, for each key."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most, self.seconds = most, seconds
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()

    def is_reached(self, key: str) -> bool:
        """Whether it may not be done again now."""
        with self._lock:
            return self._count(key)[1] >= self.most

    def add(self, key: str) -> bool:
        """Count once; says whether that was still allowed."""
        with self._lock:
            since, count = self._count(key)
            self._counts[key] = since, count + 1
            self._counts.move_to_end(key)
            while len(self._counts) > MOST_KEYS:
                self._counts.popitem(last=False)
            return count < self.most

    def forgive(self, key: str) -> None:
        """Take one count back."""
        with self._lock:
            since, count = self._count(key)
            self._counts[key] = since, max(0, count - 1)

    def _count(self, key: str) -> tuple[float, int]:
        now = time.monotonic()
        since, count = self._counts.get(key, (now, 0))
        return (since, count) if now - since < self.seconds else (now, 0)


def unnamed_address(host: str | None) -> str:
    """A name for where a request comes from; of an IPv6 address its network, which is one subscriber's."""
    host = host or ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return unnamed(host)
    return unnamed(str(ipaddress.ip_network(f"{address}/64", strict=False)) if address.version == 6 else host)

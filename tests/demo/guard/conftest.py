"""A browser without a login."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest


@pytest.fixture(scope="module")
def alone(served: Any) -> Iterator[httpx.Client]:
    """A browser of a demo on loopback, without a login."""
    # The server closes what was silent for five seconds, and a request that is on its way then is lost.
    fresh = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=served.url, verify=False, limits=fresh) as client:
        yield client

"""The demo's server as browsers and scripts meet it."""

from __future__ import annotations

from typing import Any

import httpx


def test_the_page_comes_with_a_policy_that_lets_nothing_in_from_elsewhere(served: Any) -> None:
    answer = httpx.get(served.url)
    assert answer.status_code == 200
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert not any("http" in sources or "*" in sources for sources in policy.values())

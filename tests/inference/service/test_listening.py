"""Where a service may listen, and which configurations there cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from vesalius.inference.service.config import ServeConfig
from vesalius.inference.service.listening import listen


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_are_let_in_with_a_key_alone_or_where_that_is_said(host: str) -> None:
    config = ServeConfig(host=host, port=0)
    with pytest.raises(ValueError, match="VESALIUS_API_KEY"):
        listen(config, None)
    listen(ServeConfig(host="0.0.0.0", port=0), "key").close()
    listen(ServeConfig(host="0.0.0.0", port=0, insecure=True), None).close()


def test_a_port_that_is_taken_is_told() -> None:
    with listen(ServeConfig(port=0), None) as first:
        first.listen()
        with pytest.raises(ValueError, match="cannot be listened on"):
            listen(ServeConfig(port=first.getsockname()[1]), None)


@pytest.mark.parametrize(
    "changes",
    [
        {"port": 70000}, {"batch_size": 0}, {"max_queue": 0}, {"max_images": 0}, {"max_steps": 1001}, {"timeout": 0},
        {"timeout": float("nan")}, {"batch_wait_ms": -1}, {"max_images": 20, "max_queue": 10},
    ],
)  # fmt: skip
def test_configurations_that_cannot_be_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="--"):
        ServeConfig(**changes)

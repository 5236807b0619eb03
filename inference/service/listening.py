"""Where a service listens, and how it ends: what was accepted is drawn, what comes later is refused."""

from __future__ import annotations

import ipaddress
import socket
from types import FrameType

import uvicorn

from vesalius.inference.service.app import Service, build_service
from vesalius.inference.service.config import KEY_VARIABLE, ServeConfig

LAST_ANSWERS = 10
"""Seconds that clients have to take the last answers."""


def listen(config: ServeConfig, key: str | None) -> socket.socket:
    """A socket of the address, taken before a model is loaded. ValueError where it cannot be had, or is open to others
    without a key."""
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _unheard(config, error) from None
    open_to = [at[4][0] for at in found if not ipaddress.ip_address(str(at[4][0]).partition("%")[0]).is_loopback]
    if open_to and not (key or config.insecure):
        raise ValueError(
            f"--host {config.host} is open to other machines and no key is set; set {KEY_VARIABLE}, or give --insecure "
            "where whoever reaches it may draw"
        )
    family, _, _, _, address = found[0]
    place = socket.socket(family, socket.SOCK_STREAM)
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
    except OSError as error:
        place.close()
        raise _unheard(config, error) from None
    return place


def _unheard(config: ServeConfig, error: OSError) -> ValueError:
    reason = error.strerror or type(error).__name__
    return ValueError(f"{config.host}:{config.port} cannot be listened on ({reason}); give another --port or --host")


def url_of(place: socket.socket) -> str:
    """The address of a socket as clients write it."""
    host, port = place.getsockname()[:2]
    return f"http://[{host}]:{port}" if place.family == socket.AF_INET6 else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """Uvicorn that listens on until all that was accepted is drawn, so that those who come late are told so (503).

    A second signal ends it at once.
    """

    def __init__(self, service: Service) -> None:
        super().__init__(
            uvicorn.Config(
                build_service(service), log_level="warning", access_log=False, server_header=False,
                timeout_graceful_shutdown=LAST_ANSWERS, lifespan="off",
            )
        )  # fmt: skip
        self.service, self.stopping = service, False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal asks for the end; not raised again, since it is an end that was asked for."""
        if self.stopping:
            self.should_exit = self.force_exit = True
        self.stopping = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if self.stopping:
            self.service.close()
            self.should_exit = self.should_exit or self.service.batcher.idle
        return await super().on_tick(counter)

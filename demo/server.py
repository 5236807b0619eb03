"""The server: gradio's page and our own routes in one application, with what keeps both to themselves."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from vesalius.demo.config import DemoConfig
from vesalius.demo.guard.guard import MAX_UPLOAD, Guard

LAST_ANSWERS = 2
"""Seconds that pages have to take the last answers; their streams would keep a server open that is told to end."""


def check_port(config: DemoConfig) -> None:
    """ValueError where the page's address cannot be listened on; asked before a model is loaded."""
    try:
        family = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((config.host, config.port))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(
            f"{config.host}:{config.port} cannot be listened on ({reason}); give another --port or --host"
        ) from None


def make_app(desk: Any) -> Any:
    """The whole application over a desk, to be served by uvicorn."""
    import gradio as gr
    from fastapi import FastAPI

    from vesalius.demo.app import build_page, look, translations
    from vesalius.demo.cases.routes import add_case_routes
    from vesalius.demo.quiz.routes import add_quiz_routes
    from vesalius.demo.rating.routes import add_rate_routes
    from vesalius.demo.routes import account_name, add_routes

    app = FastAPI(title="Vesalius", docs_url=None, redoc_url=None, openapi_url=None)
    add_routes(app, desk)
    add_case_routes(app, desk)
    add_quiz_routes(app, desk)

    add_rate_routes(app, desk)
    gr.mount_gradio_app(
        app, build_page(desk), path="/", server_name=desk.config.host, server_port=desk.config.port,
        footer_links=["api"], run_history=False, ssr_mode=False, mcp_server=False, enable_monitoring=False, pwa=False,
        max_file_size=MAX_UPLOAD, show_error=False, i18n=translations(), allowed_paths=[],
        auth_dependency=(lambda request: account_name(desk, request)) if desk.config.needs_login else None, **look(),
    )  # fmt: skip
    app.add_middleware(
        Guard, host=desk.config.host, needs_login=desk.config.needs_login,
        is_known=lambda request: account_name(desk, request) is not None,
    )  # fmt: skip
    return app


def launch(config: DemoConfig) -> int:
    """Open the page and serve it until interrupted. ValueError where base, adapter, store, archive or port cannot be
    had."""
    from vesalius.demo.export.pacs import check_archive
    from vesalius.demo.store.accounts import accounts_of
    from vesalius.demo.store.schema import Store

    store = Store(config.store)
    if config.add_account is not None:
        return add_one(config, store)
    check_port(config)
    if config.pacs is not None:
        check_archive(config.pacs)
    for loop in config.loop:
        if not loop.is_dir():
            raise ValueError(f"--loop {loop}: no such folder; it is the --out of `vesalius improve run`")
    if config.needs_login and not accounts_of(store):
        raise ValueError(
            f"--host {config.host} lets other machines in, and nobody has an account yet; make one with "
            f"`vesalius demo --store {config.store} --add-account NAME`"
        )
    print("demo: opening; the address follows", file=sys.stderr, flush=True)  # what comes now takes seconds
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    with tempfile.TemporaryDirectory(prefix="vesalius-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # read when components are made; the usual one is shared by all users
        return serve(config, store, Path(folder))


def add_one(config: DemoConfig, store: Any) -> int:
    """Make or change an account, with a password from the terminal or the first line of a pipe."""
    from vesalius.demo.store.accounts import Account, add_account, find_account

    assert config.add_account is not None
    password = getpass.getpass(f"password of {config.add_account}: ") if sys.stdin.isatty() else sys.stdin.readline()
    account = Account(name=config.add_account, role=config.role, level=config.level)  # type: ignore[arg-type]
    add_account(store, account, password.rstrip("\n"))
    print(f"{config.store}: {account.name} may enter as {find_account(store, account.name).role}")
    return 0


def serve(config: DemoConfig, store: Any, folder: Path) -> int:
    """Start a worker, wait until it can draw, and serve until told to stop."""
    import uvicorn

    from vesalius.demo.drawing.supervisor import Supervisor
    from vesalius.demo.guard.patience import PatientProtocol
    from vesalius.demo.page import LABEL, Desk
    from vesalius.models.support import support_of

    class Server(uvicorn.Server):
        """Uvicorn that takes a signal for the wish that it is, and does not raise it again: what comes after it, the
        worker's end, is to be done too. A second one changes nothing: it ends within `LAST_ANSWERS` anyway, and ended
        at once it would leave gradio's tasks to print what they were at."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            self.should_exit = True

    with heard_once() as no_more, Supervisor(config) as supervisor:
        desk = Desk(
            config=config, store=store, model=supervisor.ready(), support=support_of(config.base, config.adapter),
            trouble=supervisor.trouble,
        )  # fmt: skip
        app = make_app(desk)
        host = socket.gethostname() if config.host in ("0.0.0.0", "::") else config.host  # what others can open
        shown = f"[{host}]" if ":" in host else host
        print(f"http://{shown}:{config.port}/ ({LABEL}; Ctrl-C ends it)", flush=True)
        Server(
            uvicorn.Config(
                app, host=config.host, port=config.port, log_level="warning", access_log=False,
                timeout_graceful_shutdown=LAST_ANSWERS, http=PatientProtocol,
            )
        ).run()  # fmt: skip
        no_more()
    return 0


@contextmanager
def heard_once() -> Iterator[Callable[[], None]]:
    """Gives a function from whose call on signals to end are not heard, for what ends in seconds by itself: a worker
    would be left behind, and who pressed Ctrl-C twice would read a traceback. What heard them before does so
    afterwards."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}

    def no_more() -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)

    try:
        yield no_more
    finally:
        for each, way in before.items():
            signal.signal(each, way)

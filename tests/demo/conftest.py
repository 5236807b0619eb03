"""A served demo over a tiny base, with its worker; and headless Chromium, for tests of pages."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vesalius.data.hounsfield import hu_png
from vesalius.data.images.image import png_bytes
from vesalius.demo import DemoConfig
from vesalius.demo.cases.case import Case, CaseImage
from vesalius.demo.drawing.supervisor import Supervisor
from vesalius.demo.page import Desk
from vesalius.demo.server import make_app
from vesalius.demo.store.cases import save_case
from vesalius.demo.store.pictures import StoredPicture, add_picture
from vesalius.demo.store.schema import Store
from vesalius.inference.sample import Sample
from vesalius.models.support import support_of

if TYPE_CHECKING:
    from gradio_client import Client

    from vesalius.data.record import Finding
    from vesalius.demo.store.pictures import StoredPicture


PROMPT = "Chest CT, lung window. Findings: a 12 mm nodule in the left lung."
SHOTS = Path(os.environ.get("VESALIUS_SCREENSHOTS", "build/screenshots"))
"""Where tests of pages leave pictures of them, for people to look at."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Served:
    """A running demo."""

    url: str
    desk: Desk

    def client(self, **kwargs: Any) -> Client:
        """A client of its API."""
        from gradio_client import Client

        return Client(self.url, verbose=False, **kwargs)


Serve = Callable[[DemoConfig], AbstractContextManager[Served]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(config: DemoConfig) -> Iterator[Served]:
    """Serve a demo with a worker of its own. The host may need a login; the socket is on loopback all the same."""
    import uvicorn

    with pytest.MonkeyPatch.context() as patch, Supervisor(config) as supervisor:
        patch.setenv("GRADIO_TEMP_DIR", str(config.store / "gradio"))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        desk = Desk(
            config=config, store=Store(config.store), model=supervisor.ready(),
            support=support_of(config.base, config.adapter), trouble=supervisor.trouble,
        )  # fmt: skip
        server = uvicorn.Server(
            uvicorn.Config(
                make_app(desk), host="127.0.0.1", port=config.port, log_level="warning", timeout_graceful_shutdown=1
            )
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        yield Served(url=f"http://127.0.0.1:{config.port}/", desk=desk)
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def served(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A demo on loopback, without a login, which all tests of a process share: leave it as it was found."""
    store = tmp_path_factory.mktemp("demo") / "store"
    with serving(DemoConfig(base=str(tiny_base), store=store, port=free_port(), device="cpu")) as demo:
        yield demo


@pytest.fixture(scope="session")
def serve() -> Serve:
    """`serving`, for tests that need a demo of their own."""
    return serving


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    return free_port()


KeepPicture = Callable[..., StoredPicture]


@pytest.fixture(scope="session")
def keep_picture() -> KeepPicture:
    """A function that puts a phantom into a store as if it had been drawn there: a picture whose content is known, in
    Hounsfield units too where it is of CT."""
    from vesalius.data.phantoms.phantom import draw_phantom

    def keep(
        store: Store, modality: str = "CT", *, account: str = "local", seed: int = 3, size: int = 128, job: str = "",
        number: int = 0, text: str = "", findings: tuple[Finding, ...] = (), spacing: float | None = 2.5,
        units: bool = True, label: str = "",
    ) -> StoredPicture:  # fmt: skip
        phantom = draw_phantom(seed, modality, size=size, findings=findings)
        sample = Sample(
            file_name="images/x.png", text=text or phantom.caption, modality=modality, seed=seed, steps=1,
            guidance=1.0, height=size, width=size, base="phantom", base_digest="b" * 64,
        )  # fmt: skip
        return add_picture(
            store, account=account, job=job or f"phantom-{os.urandom(6).hex()}", number=number, sample=sample,
            label=label, png=png_bytes(phantom.image, sample.recipe()), spacing=spacing,
            hu_png=hu_png(phantom.hu) if units and phantom.hu is not None else None,
        )  # fmt: skip

    return keep


@pytest.fixture(scope="session")
def shots() -> Path:
    """The folder of `SHOTS`."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    return SHOTS


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptCase:
    """A case in a store of its own. answer: words that only its answer says, and the prompts of its pictures."""

    store: Store
    pictures: list[StoredPicture]
    case: Case
    answer: tuple[str, ...] = ("Zyxoma", "spiculated", "wumpus", "quuxitis", "nodule", "xylograph", "plughgraphy")


@pytest.fixture
def kept_case(tmp_path: Path, keep_picture: KeepPicture) -> KeptCase:
    """A case of CT, MRI, and a CT with units that belongs to the answer."""
    store = Store(tmp_path / "store")
    pictures = [
        keep_picture(store, seed=0, text=PROMPT, units=False),
        keep_picture(store, "MRI", seed=1, text="Brain MRI, nodule."), keep_picture(store, seed=2, text=PROMPT),
    ]  # fmt: skip
    *question, last = (p.id for p in pictures)
    case = Case(
        title="Zyxoma of the thumb", history="A 40-year-old sailor with a cough.",
        images=(
            *(CaseImage(picture=p, caption="Axial slice") for p in question),
            CaseImage(picture=last, caption="The xylograph shows it", in_answer=True),
        ),
        findings="A spiculated thing.", diagnosis="Zyxoma", differential=("wumpus", "Other"),
        discussion="It is quuxitis that matters.", level="resident", keywords=("plughgraphy",),
        references=("Zyxoma and you, 2020",),
    )  # fmt: skip
    return KeptCase(store=store, pictures=pictures, case=save_case(store, "local", case))


@pytest.fixture(scope="session")
def undrawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """Make a demo without a worker, which is served in a moment and draws nothing."""
    import uvicorn

    from vesalius.demo.guard.patience import PatientProtocol
    from vesalius.demo.page import Model

    model = Model(base="tiny", base_digest="b", adapter_digest=None, image_size=32, steps=1, guidance=1.0)
    servers: list[tuple[Any, threading.Thread]] = []

    def make(host: str = "127.0.0.1") -> Served:
        config = DemoConfig(host=host, store=tmp_path_factory.mktemp("undrawn") / "store", port=free_port())
        desk = Desk(config=config, store=Store(config.store), model=model, support=None)
        server = uvicorn.Server(
            uvicorn.Config(
                make_app(desk),
                host="127.0.0.1",
                port=config.port,
                log_level="warning",
                http=PatientProtocol,
                timeout_graceful_shutdown=1,
            )
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        servers.append((server, thread))
        return Served(url=f"http://127.0.0.1:{config.port}/", desk=desk)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        yield make
        for server, _ in servers:
            server.should_exit = True
        for _, thread in servers:
            thread.join(10)

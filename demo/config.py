"""What a demo is: one frozen dataclass, from which the command line is made."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from vesalius.data.command.fields import Settled

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _usual_store() -> Path:
    home = os.environ.get("VESALIUS_HOME") or Path.home() / ".cache" / "vesalius"
    return Path(home) / "demo"


@dataclass(frozen=True, kw_only=True)
class DemoConfig(Settled):
    """Open the browser application: prompts in, synthetic pictures, teaching cases, quizzes and ratings out."""

    base: str = "nano"
    """nano, a diffusers folder, or a hub id"""
    adapter: tuple[str, ...] = ()
    """run folders of `vesalius finetune`, adapter folders or nano-fast; PATH:0.7 for a share; several are added up"""
    store: Path = field(default_factory=_usual_store)
    """folder of what people make: jobs, pictures, cases, quizzes, ratings"""
    port: int = 7860
    """port of the page"""
    host: str = "127.0.0.1"
    """address to listen on; 0.0.0.0 lets other machines in, with a login"""
    add_account: str | None = None
    """make an account (or change its password, role and level), ask for its password, and end; local is who works
    without a login"""
    role: str = "teacher"
    """of --add-account: rater rates; teacher makes pictures, cases and quizzes too; owner also decides on rounds"""
    level: str = ""
    """of --add-account: student, resident, fellow, attending or other"""
    loop: tuple[Path, ...] = ()
    """folders of `vesalius improve run`, whose rounds are shown"""
    real: tuple[Path, ...] = ()
    """dataset folders, whose real images are mixed among those to be rated"""
    rate: tuple[Path, ...] = ()
    """samples folders to be rated beside the pictures made here"""
    real_share: float = 0.25
    """share of real images among those to be rated, where --real has such of the same modality"""
    pacs: str | None = None
    """DICOMweb address of an image archive that cases may be sent to, such as http://localhost:8042/dicom-web"""
    device: str = "auto"
    """cpu, cuda, or auto"""
    max_jobs: int = 4
    """jobs that one person may have waiting"""
    max_queue: int = 64
    """jobs that may wait in all; the next person is told to try later"""
    max_pictures: int = 2000
    """pictures that are kept for one person; the oldest that no case or quiz uses go first"""

    def __post_init__(self) -> None:
        """ValueError where a value cannot be."""
        super().__post_init__()
        if not 1 <= self.port <= 65535:
            raise ValueError(f"--port {self.port}: expected 1 to 65535")
        for name in ("max_jobs", "max_queue", "max_pictures"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: expected at least 1")
        if not 0 <= self.real_share <= 0.75:
            raise ValueError(f"--real-share {self.real_share:g}: expected a share from 0 to 0.75")

    @property
    def needs_login(self) -> bool:
        """Whether other machines can reach the page."""
        return self.host not in LOOPBACK

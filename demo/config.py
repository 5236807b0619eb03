"""What a demo is: one frozen dataclass, from which the command line is made."""

from __future__ import annotations

from dataclasses import dataclass

from vesalius.data.fields import Settled


@dataclass(frozen=True, kw_only=True)
class DemoConfig(Settled):
    """Open the browser application: prompts in, synthetic pictures out."""

    base: str = "nano"
    """nano, a diffusers folder, or a hub id"""
    adapter: tuple[str, ...] = ()
    """run folders of `vesalius finetune`, adapter folders or nano-fast; PATH:0.7 for a share; several are added up"""
    port: int = 7860
    """port of the page"""
    host: str = "127.0.0.1"
    """address to listen on; 0.0.0.0 lets other machines in"""
    device: str = "auto"
    """cpu, cuda, or auto"""
    max_queue: int = 16
    """people who may wait at once; the next one is told to try later"""
    keep_minutes: int = 60
    """how long pictures stay on this machine for download"""

    def __post_init__(self) -> None:
        """ValueError where a value cannot be."""
        super().__post_init__()
        if not 1 <= self.port <= 65535:
            raise ValueError(f"--port {self.port}: expected 1 to 65535")
        if self.max_queue < 1 or self.keep_minutes < 1:
            raise ValueError(f"--max-queue {self.max_queue} and --keep-minutes {self.keep_minutes} must be at least 1")

"""The tab 'Loop'."""

from __future__ import annotations

import gradio as gr

from vesalius.demo.page import Desk, Words

WORDS: Words = {"loop.tab": ("Loop", "Loop")}


def build(desk: Desk) -> None:
    """Lay the tab out."""
    gr.Markdown("...")

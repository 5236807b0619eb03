"""The tab 'Compare'."""

from __future__ import annotations

import gradio as gr

from vesalius.demo.page import Desk, Words

WORDS: Words = {"compare.tab": ("Compare", "Compare")}


def build(desk: Desk) -> None:
    """Lay the tab out."""
    gr.Markdown("...")

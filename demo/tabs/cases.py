"""The tab 'Cases'."""

from __future__ import annotations

import gradio as gr

from vesalius.demo.page import Desk, Words

WORDS: Words = {"cases.tab": ("Cases", "Cases")}


def build(desk: Desk) -> None:
    """Lay the tab out."""
    gr.Markdown("...")

"""The tab 'Rate'."""

from __future__ import annotations

import gradio as gr

from vesalius.demo.page import Desk, Words

WORDS: Words = {"rate.tab": ("Rate", "Rate")}


def build(desk: Desk) -> None:
    """Lay the tab out."""
    gr.Markdown("...")

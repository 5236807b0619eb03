"""The tab 'About'."""

from __future__ import annotations

import gradio as gr

from vesalius.demo.page import Desk, Words

WORDS: Words = {"about.tab": ("About", "About")}


def build(desk: Desk) -> None:
    """Lay the tab out."""
    gr.Markdown("...")

"""The tab 'Create'."""

from __future__ import annotations

import gradio as gr

from vesalius.demo.page import Desk, Words

WORDS: Words = {"create.tab": ("Create", "Create")}


def build(desk: Desk) -> None:
    """Lay the tab out."""
    gr.Markdown("...")

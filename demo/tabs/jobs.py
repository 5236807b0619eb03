"""The tab 'Jobs'."""

from __future__ import annotations

import gradio as gr

from vesalius.demo.page import Desk, Words

WORDS: Words = {"jobs.tab": ("Jobs", "Jobs")}


def build(desk: Desk) -> None:
    """Lay the tab out."""
    gr.Markdown("...")

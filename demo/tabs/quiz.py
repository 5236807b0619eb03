"""The tab 'Quiz'."""

from __future__ import annotations

import gradio as gr

from vesalius.demo.page import Desk, Words

WORDS: Words = {"quiz.tab": ("Quiz", "Quiz")}


def build(desk: Desk) -> None:
    """Lay the tab out."""
    gr.Markdown("...")

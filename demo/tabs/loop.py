"""The tab 'Loop': what the rounds of `vesalius improve` refused and decided, and what waits for an owner.

The page is made by `vesalius.demo.loop.page` and looked at again by web/loop.js while a loop runs.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from vesalius.demo.loop import loops
from vesalius.demo.loop.page import WORDS as WORDS
from vesalius.demo.page import Desk, account_of, begins, plainly

READING = "Reading the loops … · 正在读取改进循环……"


def build(desk: Desk) -> None:
    """Lay the tab out."""
    gr.HTML(f'<div id="loop-room"><p>{READING}</p></div>', js_on_load=begins("window.vesalius.loop", "#loop-room"))

    def loop(request: gr.Request, loop: int = 0) -> dict[str, Any]:
        """Where a loop stands: its rounds with what was refused by which gate, decisions, and the round that waits.

        loop: its place among those that the demo was given, counted from 0.
        """
        loops.watcher(account_of(desk, request))
        return loops.read_loop(loops.loop_at(desk, loop))

    def veto(request: gr.Request, sample: str, loop: int = 0, on: bool = True) -> dict[str, Any]:
        """Keep a sample of the round that waits out of the training data, by file name or digest, or let it in again;
        it takes effect with the approval."""
        return loops.keep_out(desk, account_of(desk, request), loop=loop, sample=sample, on=on)

    def approve_round(
        request: gr.Request, loop: int = 0, reason: str = "", expected: int | None = None
    ) -> dict[str, Any]:  # fmt: skip
        """Let the samples of the round that waits in, but those that were vetoed. expected: how many vetoes you know
        of; where there are more or fewer, nothing is done."""
        return loops.approve_round(desk, account_of(desk, request), loop=loop, reason=reason, expected=expected)

    for action in (loop, veto, approve_round):
        gr.api(plainly(action), api_name=action.__name__)

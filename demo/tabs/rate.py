"""The tab 'Rate': a blinded queue of pictures, one at a time or two of one prompt, for whoever judges them.

The queue is shown by web/rate.js, which asks the routes of `vesalius.demo.rating.routes`; scripts ask the API here.
Both are told the same.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from vesalius.demo.page import Desk, account_of, begins, language_of, plainly, text_within
from vesalius.demo.rating import views as rating_views
from vesalius.demo.rating.queue import MOST_COMMENT
from vesalius.demo.rating.views import WORDS as WORDS

YES_NO = {"yes": True, "no": False}


def build(desk: Desk) -> None:
    """Lay the tab out."""
    gr.HTML('<div id="rate-room"></div>', js_on_load=begins("window.vesalius.rate", "#rate-room"))

    def next_rating(request: gr.Request, mode: str = "one", rater: str = "", level: str = "") -> dict[str, Any]:
        """What you are to rate next: its ticket, its text, and the address of its picture.

        mode: one, or pair. rater and level: where there is no login, a name to rate by, kept for the next time.
        """
        who = account_of(desk, request)
        return rating_views.next_view(desk, who, mode=mode, rater=rater, level=level)

    def rate(
        request: gr.Request, ticket: str, realism: int | None = None, agreement: int | None = None, artefact: str = "",
        teach: str = "", preference: str = "", comment: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """Say what you see of a ticket's picture, and be told the next.

        realism, agreement (with the text): 1 to 5, 5 the best. artefact: none, minor or major. teach: yes or no. Of a
        pair the preference alone: first, second or tie.
        """
        said = {
            "realism": realism, "agreement": agreement, "artefact": artefact, "teach": YES_NO.get(teach),
            "preference": preference, "comment": text_within(comment, MOST_COMMENT, "The comment"),
        }  # fmt: skip
        who = account_of(desk, request)
        return rating_views.answer_view(desk, who, ticket=ticket, said=said)

    def withdraw_rating(request: gr.Request, ticket: str = "", rater: str = "") -> dict[str, Any]:
        """Take back what you said of a ticket, or last, and be shown it again."""
        return rating_views.back_view(desk, account_of(desk, request), ticket=ticket, rater=rater)

    def agreement(request: gr.Request, rater: str = "") -> dict[str, Any]:
        """Whether raters agree, in words and numbers: an owner is told of all, others of themselves."""
        return rating_views.agreement_view(desk, account_of(desk, request), language_of(request), rater=rater)

    def put_to_rating(request: gr.Request, pictures: list[str], on: bool = True) -> int:
        """Let raters see pictures of yours, by their ids, or no longer; returns how many of yours they may see."""
        return rating_views.put(desk, account_of(desk, request), pictures, on)

    for action in (next_rating, rate, withdraw_rating, agreement, put_to_rating):
        gr.api(plainly(action), api_name=action.__name__)

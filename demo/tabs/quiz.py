"""The tab 'Quiz': a teacher makes quizzes of pictures, shows their links, and sees what learners answer.

What is on it is drawn by `web/quiz.js` from `vesalius.demo.quiz.desk`; scripts use the named actions below.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from vesalius.demo.page import Desk, begins, plainly, teacher_of
from vesalius.demo.quiz.desk import results_of, summary
from vesalius.demo.quiz.words import WORDS
from vesalius.demo.store.quizzes import add_quiz, delete_quiz, find_quiz, open_quiz, quiz_from, quizzes_of

__all__ = ["WORDS", "build"]


def build(desk: Desk) -> None:
    """Lay the tab out."""
    gr.HTML(
        '<div class="quiz-desk"></div>', js_on_load=begins("window.vesaliusQuiz.start", ".quiz-desk"), padding=False
    )

    @plainly
    def make_quiz(
        title: str, questions: list[dict[str, Any]], request: gr.Request, shuffled: bool = True, tell: str = "each",
        note: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """Make a quiz, open, of questions with kind, picture, text, choices, right, circle and explanation; its "link"
        after the server's address is the link for learners. tell: learners see what is right after "each" answer, or at
        the "end"."""
        account = teacher_of(desk, request).name
        told = {"title": title, "questions": questions, "shuffled": shuffled, "tell": tell, "note": note}
        return summary(add_quiz(desk.store, account, quiz_from(desk.store, account, told)))

    @plainly
    def quizzes(request: gr.Request) -> list[dict[str, Any]]:
        """Your quizzes, the newest first."""
        return [summary(quiz) for quiz in quizzes_of(desk.store, teacher_of(desk, request).name)]

    @plainly
    def quiz_results(quiz: str, request: gr.Request) -> dict[str, Any]:
        """What learners answered to a quiz of yours: "learners", and "by_question" of each question."""
        return results_of(desk, find_quiz(desk.store, teacher_of(desk, request).name, quiz))

    @plainly
    def close_quiz(quiz: str, request: gr.Request, is_open: bool = False) -> dict[str, Any]:
        """Let no learner answer any more; with is_open, let them again."""
        return summary(open_quiz(desk.store, teacher_of(desk, request).name, quiz, is_open=is_open))

    @plainly
    def remove_quiz(quiz: str, request: gr.Request) -> dict[str, Any]:
        """Delete a quiz and what learners answered."""
        delete_quiz(desk.store, teacher_of(desk, request).name, quiz)
        return {"deleted": quiz}

    actions = (make_quiz, "make_quiz"), (quizzes, "quizzes"), (quiz_results, "quiz_results")
    for action, name in (*actions, (close_quiz, "close_quiz"), (remove_quiz, "delete_quiz")):
        gr.api(action, api_name=name)

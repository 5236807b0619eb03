"""The actions of the tab 'Quiz' as scripts call them."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from vesalius.demo.tabs.quiz import WORDS


def test_a_script_makes_looks_at_closes_and_deletes_a_quiz(served: Any, keep_picture: Any) -> None:
    picture = keep_picture(served.desk.store).id
    client = served.client()
    question = {"kind": "normal", "picture": picture, "text": "Is it normal?", "right": [1]}
    quiz = client.predict(title="Chest", questions=[question], api_name="/make_quiz")
    assert [q["title"] for q in client.predict(api_name="/quizzes")] == ["Chest"]
    url, secret = f"{served.url.rstrip('/')}{quiz['link']}", "s" * 32
    httpx.put(f"{url}/sittings/{secret}", json={"name": "Ann"})
    httpx.put(f"{url}/sittings/{secret}/answers/0", json={"said": [1]})
    results = client.predict(quiz=quiz["id"], api_name="/quiz_results")
    assert [(r["learner"], r["score"]) for r in results["learners"]] == [("Ann", 1)]
    assert client.predict(quiz=quiz["id"], api_name="/close_quiz")["is_open"] is False
    assert client.predict(quiz=quiz["id"], api_name="/delete_quiz") == {"deleted": quiz["id"]}
    with pytest.raises(Exception, match="This quiz is no longer here"):
        client.predict(quiz=quiz["id"], api_name="/quiz_results")
    with pytest.raises(Exception, match="Give the quiz a title"):
        client.predict(title="", questions=[question], api_name="/make_quiz")
    with served.desk.store.write() as db:
        db.execute("DELETE FROM pictures WHERE id = ?", [picture])


def test_every_word_is_in_both_languages() -> None:
    assert all(key.startswith("quiz.") and all(said) for key, said in WORDS.items())
    fields = {key: [set(re.findall(r"\{\w+\}", each)) for each in said] for key, said in WORDS.items()}
    assert all(english == chinese for english, chinese in fields.values())

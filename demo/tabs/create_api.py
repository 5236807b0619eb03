"""What a script can ask of 'Create', by name: /draw and /build_prompt (and /recall, which the page itself uses)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import gradio as gr

from vesalius.demo.create.choices import Menu, Wish, settled, unmet, wording
from vesalius.demo.create.settings import FROM_PROMPT, number, order_from, whole
from vesalius.demo.page import LABEL, Desk, plainly, teacher_of, text_within
from vesalius.demo.sentences import Refusal
from vesalius.demo.store.jobs import Job, add_job, find_job
from vesalius.demo.store.pictures import StoredPicture, pictures_of_job
from vesalius.demo.tabs.following import CHECK_POLLS, POLL_SECONDS

LONGEST = 100
"""Characters of a name."""


def add(desk: Desk, menu: Menu) -> None:
    """Add the endpoints to the page that is being laid out."""
    steps_here, guidance_here = desk.model.steps, desk.model.guidance

    async def draw(
        prompt: str,
        modality: str = FROM_PROMPT,
        num: Any = 1,
        seed: Any = 0,
        steps: Any = None,
        guidance: Any = None,
        negative: str = "",
        request: gr.Request = None,  # type: ignore[assignment]
    ) -> AsyncIterator[dict[str, Any]]:
        """Draw pictures and wait for them; told again whenever one is ready.

        Parameters:
            prompt: what to draw, in English or Chinese
            modality: its name, or "from the prompt"
            num: how many pictures
            seed: of the first one
            steps: of denoising; left out, the page's
            guidance: how closely the words are kept to; left out, the page's
            negative: what to leave out
        """
        account = teacher_of(desk, request).name
        steps, guidance = (steps_here if steps is None else steps), (guidance_here if guidance is None else guidance)
        order = order_from(prompt, modality, num, seed, steps, guidance, negative)
        job = add_job(desk.store, account, order, max_jobs=desk.config.max_jobs, max_queue=desk.config.max_queue)
        before: tuple[Any, ...] = ()
        rest = CHECK_POLLS
        while True:
            job = find_job(desk.store, account, job.id)
            pictures = pictures_of_job(desk.store, account, job.id)
            now = (job.state, job.ahead, tuple((p.id, p.checks) for p in pictures))
            if now != before:
                yield answer(job, pictures)
            before = now
            if job.state == "paused":
                return
            if job.is_over:
                rest -= 1
                if rest <= 0 or all(p.checks is not None for p in pictures):
                    return
            await asyncio.sleep(POLL_SECONDS)

    def build_prompt(
        modality: str,
        organ: str = "",
        finding: str = "",
        side: str = "",
        size: Any = None,
        count: Any = 1,
        language: str = "en",
        request: gr.Request = None,  # type: ignore[assignment]
    ) -> str:
        """A prompt in words of the training, as the page's builder makes it.

        Parameters:
            modality: such as CT
            organ: such as chest; left out, the one with most training images
            finding: such as nodule
            side: the patient's: left, right or bilateral
            size: in mm
            count: how many
            language: en or zh
        """
        teacher_of(desk, request)
        words: dict[str, Any] = {
            name: text_within(value, LONGEST, f"The {name}").strip()
            for name, value in (("modality", modality), ("organ", organ), ("finding", finding), ("side", side))
        }
        if language not in ("en", "zh"):
            raise Refusal("The language is not known; expected en or zh", "未知的语言；应为 en 或 zh")
        size_mm = None if size is None else round(number(size, "size"))
        wish = Wish(**words, size_mm=size_mm, count=whole(count, "count"))
        if missing := unmet(menu, wish):
            what = "; ".join(f"{name.replace('_mm', '')} '{value}'" for name, value, _ in missing)
            best = asdict(settled(menu, wish))
            near = ", ".join(f"{k} {v}" for k, v in best.items() if v not in ("", None) and k != "wording")
            raise Refusal(
                f"The base was not trained on this: {what}. Nearest that it has seen: {near}",
                f"该模型未经此类训练：{what}。它见过的最接近的是：{near}",
            )
        return wording(settled(menu, wish), language)

    gr.api(plainly(draw), api_name="draw", concurrency_limit=None)
    gr.api(plainly(build_prompt), api_name="build_prompt")


def answer(job: Job, pictures: list[StoredPicture]) -> dict[str, Any]:
    """What a script is told of a job: addresses and recipes, and nothing of the server's folders."""
    return {
        "label": LABEL, "job": job.id, "state": job.state, "ahead": job.ahead, "message": job.message,
        "pictures": [
            {
                "id": p.id, "url": f"/pictures/{p.id}.png", "recipe": p.sample.recipe(),
                "checks": None if p.checks is None else [asdict(c) for c in p.checks],
            }
            for p in pictures
        ],
    }  # fmt: skip

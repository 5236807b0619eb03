"""What 'Create' shows of a job while it waits and is drawn, until it is over."""

from __future__ import annotations

import asyncio
import html
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from vesalius.demo.board import board
from vesalius.demo.page import WORDS as PAGE
from vesalius.demo.page import Desk, Language, Words, say, t, with_details
from vesalius.demo.sentences import of_both
from vesalius.demo.store.jobs import Job, find_job, pause_job, resume_job
from vesalius.demo.store.pictures import StoredPicture, pictures_of_job, preview_of
from vesalius.demo.store.schema import Store

POLL_SECONDS = 0.2
CHECK_POLLS = 50
"""Looks for the last badges after a job is over: they follow the pictures closely, or never come."""
WORDS: Words = {
    "following.waiting": ("Waiting: {ahead} in front.", "等待中：前面还有 {ahead} 项。"),
    "following.next": ("Waiting: it is next.", "等待中：即将开始。"),
    "following.begins": ("About {seconds} s until it begins.", "约 {seconds} 秒后开始。"),
    "following.running": ("Drawing picture {number} of {num}.", "正在生成第 {number} 幅，共 {num} 幅。"),
    "following.left": ("About {seconds} s left.", "约剩 {seconds} 秒。"),
    "following.paused": ("Stopped at {done} of {num}.", "已暂停，完成 {done}/{num}。"),
    "following.done": ("Done: {num} drawn.", "已完成：共 {num} 幅。"),
    "following.failed": ("It could not be drawn: {message}", "无法生成：{message}"),
    "following.gone": ("This job was deleted.", "该任务已删除。"),
    "following.preview": ("Preview of a picture that is being drawn", "正在生成的图像预览"),
    "following.progress": ("Progress of the job", "任务进度"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the page shows of a job; what is None has not changed. status: said aloud."""

    status: str | None = None
    bar: str | None = None
    board: str | None = None
    state: str | None = None


async def follow(desk: Desk, account: str, job: str, language: Language, *, wanted: object) -> AsyncIterator[Shown]:
    """What changes of a job, as long as `wanted()` is true. ValueError where the person has no such job."""
    assert callable(wanted)
    find_job(desk.store, account, job)
    before, rest = Shown(), CHECK_POLLS
    while wanted():
        try:
            now = find_job(desk.store, account, job)
        except ValueError:
            yield Shown(
                status=_status(say(WORDS, "following.gone", language), "", language), bar="", board="", state="gone"
            )
            return
        pictures = pictures_of_job(desk.store, account, job)
        shown = look_of(desk, now, pictures, language)
        if shown != before:
            names = ("status", "bar", "board", "state")
            yield Shown(**{n: v for n in names if (v := getattr(shown, n)) != getattr(before, n)})
        before = shown
        if now.is_over:
            rest -= 1
            if rest <= 0 or all(p.checks is not None for p in pictures):
                return
        await asyncio.sleep(POLL_SECONDS)


def look_of(desk: Desk, job: Job, pictures: list[StoredPicture], language: Language) -> Shown:
    """All that the page shows of a job at one moment."""
    steps = max(1, job.order.steps)
    within = min(job.step / steps, 1.0) if job.state == "running" else 0.0
    share = 1.0 if job.state == "done" else min(1.0, (job.done + within) / max(1, job.num))
    label = html.escape(say(WORDS, "following.progress", language))
    bar = f'<div class="create-bar" data-job="{html.escape(job.id)}" data-state="{job.state}">'
    if not job.is_over:
        bar += f'<progress value="{share:.3f}" max="1" aria-label="{label}"></progress>'
    if job.state == "running" and preview_of(desk.store, job.id).is_file():
        bar += _preview(job, language)
    told = [_sentence(job, language), *_estimate(job, language)]
    details = of_both(job.said, language)[1] if job.state == "failed" else ""
    return Shown(
        status=_status(" ".join(told), details, language), bar=f"{bar}</div>",
        board=board(pictures, language) if pictures else "", state=job.state,
    )  # fmt: skip


def _sentence(job: Job, language: Language) -> str:
    if job.state == "waiting":
        key = "waiting" if job.ahead else "next"
        return say(WORDS, f"following.{key}", language, ahead=job.ahead)
    number = min(job.done + 1, job.num)
    return say(
        WORDS,
        f"following.{job.state}",
        language,
        number=number,
        num=job.num,
        done=job.done,
        message=of_both(job.said, language)[0],
    )


def _estimate(job: Job, language: Language) -> list[str]:
    """How long it will take, in steps that do not flicker; nothing where that is not known."""
    if job.state == "waiting" and job.wait is not None and job.wait >= 1:
        return [say(WORDS, "following.begins", language, seconds=_rounded(job.wait))]
    if job.state == "running" and job.left is not None and job.left >= 3:
        return [say(WORDS, "following.left", language, seconds=_rounded(job.left))]
    return []


def _rounded(seconds: float) -> int:
    step = 5 if seconds > 10 else 1
    return max(1, round(seconds / step) * step)


def _preview(job: Job, language: Language) -> str:
    alt = f"{PAGE['label'][language == 'zh']}. {say(WORDS, 'following.preview', language)}"
    source = f"/previews/{html.escape(job.id)}.png?at={job.done}-{job.step}"
    caption = html.escape(PAGE["label"][language == "zh"])
    image = f'<img src="{source}" alt="{html.escape(alt)}">'
    return f'<figure class="create-preview">{image}<figcaption>{caption}</figcaption></figure>'


def _status(text: str, details: str, language: Language) -> str:
    return f'<div class="create-status">{with_details(text, details, language)}</div>'


def turned(store: Store, account: str, job: str) -> str:
    """Pause a job, or let a paused one go on; its state then."""
    now = find_job(store, account, job)
    if now.state == "paused":
        return resume_job(store, account, job).state
    return now.state if now.is_over else pause_job(store, account, job).state


def stop_button(state: str) -> Any:
    """The button of that, as it is in a state."""
    key = "go_on" if state == "paused" else "stop"
    return gr.Button(t(f"create.{key}"), interactive=state in ("waiting", "running", "paused"))

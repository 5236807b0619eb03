"""The tab 'Jobs': what a person has in the queue, drawn or not, with its pictures; and the same for scripts.

The list is fetched by `web/jobs.js` while the tab is looked at, so that no thread of the server waits for it, and only
what changed is replaced, so that the keyboard's focus stays where it is.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gradio as gr

from vesalius.demo.page import (
    LABEL,
    Desk,
    Language,
    Words,
    language_of,
    plainly,
    say,
    t,
    teacher_of,
    text_within,
    with_details,
)
from vesalius.demo.page import WORDS as PAGE_WORDS
from vesalius.demo.sentences import Refusal, of_both
from vesalius.demo.store.clearing import delete_job
from vesalius.demo.store.jobs import Job, find_job, jobs_of, pause_job, resume_job, retry_job
from vesalius.demo.store.pictures import StoredPicture, pictures_of_job, preview_of

MOST_LISTED = 50
WORDS: Words = {
    "jobs.tab": ("Jobs", "任务"),
    "jobs.intro": (
        "What you asked for is drawn even if you close this page. First come, first served.",
        "即使关闭本页，任务也会继续进行，按提交的先后顺序生成。",
    ),
    "jobs.empty": (
        "Nothing yet. What you ask for under 'Create' is listed here.",
        "暂无任务。在“生成”页提交的任务会列在这里。",
    ),
    "jobs.waiting": ("Waiting", "等待中"),
    "jobs.running": ("Drawing", "绘制中"),
    "jobs.paused": ("Paused", "已暂停"),
    "jobs.done": ("Done", "已完成"),
    "jobs.failed": ("Failed", "失败"),
    "jobs.next": ("next in the queue", "下一个"),
    "jobs.ahead": ("{num} before it", "前面还有 {num} 个"),
    "jobs.begins": ("begins in about {time}", "约 {time}后开始"),
    "jobs.left": ("about {time} left", "约剩 {time}"),
    "jobs.count": ("{done} of {num} pictures", "{done}/{num} 幅"),
    "jobs.step": ("step {step} of {steps}", "第 {step}/{steps} 步"),
    "jobs.seconds": ("{num} s", "{num} 秒"),
    "jobs.minutes": ("{num} min", "{num} 分钟"),
    "jobs.follow": ("Open", "打开"),
    "jobs.pause": ("Pause", "暂停"),
    "jobs.resume": ("Go on", "继续"),
    "jobs.retry": ("Try again", "重试"),
    "jobs.delete": ("Delete", "删除"),
    "jobs.confirm": (
        "Delete this job and its pictures? Those in a case, a quiz or among the rated ones stay.",
        "删除此任务及其图像？病例、测验或评分中使用的图像会保留。",
    ),
    "jobs.picture": ("Picture {num}", "图像 {num}"),
    "jobs.preview": ("As it looks by now", "当前预览"),
    "jobs.progress": ("Progress", "进度"),
    "jobs.said_pause": ("Paused.", "已暂停。"),
    "jobs.said_resume": ("It goes on at its place in the queue.", "已按原排队位置继续。"),
    "jobs.said_retry": ("It is at the end of the queue.", "已排到队尾。"),
    "jobs.said_delete": ("Deleted.", "已删除。"),
    "jobs.said_kept": (
        "Deleted, but for {num} pictures that a case, a quiz or a rating uses.",
        "已删除；病例、测验或评分使用的 {num} 幅图像已保留。",
    ),
}
ACTIONS = {
    "waiting": ("pause", "delete"),
    "running": ("pause", "delete"),
    "paused": ("resume", "delete"),
    "done": ("delete",),
    "failed": ("retry", "delete"),
}
"""What can be done with a job in each state, beside looking at it."""


def build(desk: Desk) -> None:
    """Lay the tab out."""
    gr.Markdown(t("jobs.intro"))
    said = gr.HTML("", elem_id="jobs-said", padding=False)
    gr.HTML('<div id="jobs-list"></div>', padding=False)
    wish = gr.Textbox(visible="hidden", elem_id="link-jobs", label="jobs")

    def act(wished: str, request: gr.Request) -> str:
        verb, _, job = text_within(wished, 100, "The wish").partition("#")[0].partition(" ")
        if verb not in ("pause", "resume", "retry", "delete"):
            raise Refusal("This cannot be done with a job; reload the page", "不能对任务进行此操作；请重新载入页面")
        return f"<p>{html.escape(_done(desk, teacher_of(desk, request).name, verb, job, language_of(request)))}</p>"

    wish.input(plainly(act), inputs=wish, outputs=said, api_visibility="private", show_progress="hidden").then(
        None, js="() => window.vesalius.jobs.refresh()", api_visibility="private"
    )
    for name, action in endpoints(desk).items():
        gr.api(plainly(action), api_name=name)


def endpoints(desk: Desk) -> dict[str, Callable[..., Any]]:
    """What scripts may do with jobs, by the name of each endpoint."""

    def jobs(request: gr.Request) -> list[dict[str, Any]]:
        """Your jobs, the newest first, without their pictures."""
        return [told(job) for job in jobs_of(desk.store, teacher_of(desk, request).name)]

    def job(job: str, request: gr.Request) -> dict[str, Any]:
        """One job of yours: its state, place, progress and pictures, with their addresses on this server."""
        return _whole(find_job(desk.store, teacher_of(desk, request).name, job))

    def pause(job: str, request: gr.Request) -> dict[str, Any]:
        """Let a job rest that waits or is being drawn; what it has drawn stays."""
        return _whole(pause_job(desk.store, teacher_of(desk, request).name, job))

    def resume(job: str, request: gr.Request) -> dict[str, Any]:
        """Let a paused job go on, at its place in the queue."""
        return _whole(resume_job(desk.store, teacher_of(desk, request).name, job))

    def retry(job: str, request: gr.Request) -> dict[str, Any]:
        """Try a failed job again, at the end of the queue."""
        return _whole(_retried(desk, teacher_of(desk, request).name, job))

    def delete(job: str, request: gr.Request) -> dict[str, Any]:
        """Delete a job and its pictures; kept: how many stay, since a case, a quiz or a rating uses them."""
        return {"id": job, "kept": delete_job(desk.store, teacher_of(desk, request).name, job)}

    def _whole(found: Job) -> dict[str, Any]:
        pictures = [_told_picture(p) for p in pictures_of_job(desk.store, found.account, found.id)]
        return {**told(found), "pictures": pictures, "trouble": desk.trouble()}

    return {"jobs": jobs, "job": job, "pause": pause, "resume": resume, "retry": retry, "delete_job": delete}


def told(job: Job) -> dict[str, Any]:
    """A job as scripts are told of it. wait and left: seconds, None where they cannot be estimated yet."""
    return {
        "id": job.id, "state": job.state, "message": job.message, "done": job.done, "num": job.num, "step": job.step,
        "steps": job.order.steps, "ahead": job.ahead, "wait": job.wait, "left": job.left, "created": job.created,
        "prompts": [ask.prompt for ask in job.order.asks],
    }  # fmt: skip


def _told_picture(picture: StoredPicture) -> dict[str, Any]:
    checks = None if picture.checks is None else [asdict(check) for check in picture.checks]
    return {
        "id": picture.id, "url": f"/pictures/{picture.id}.png", "number": picture.number, "label": picture.label,
        "prompt": picture.sample.text, "seed": picture.sample.seed, "sha256": picture.sample.sha256,
        "mm_per_pixel": picture.spacing, "checks": checks, "note": LABEL,
    }  # fmt: skip


def _retried(desk: Desk, account: str, job: str) -> Job:
    return retry_job(desk.store, account, job, max_jobs=desk.config.max_jobs, max_queue=desk.config.max_queue)


def _done(desk: Desk, account: str, verb: str, job: str, language: Language) -> str:
    """Do what a button says; what is told of it."""
    if verb == "delete":
        kept = delete_job(desk.store, account, job)
        return say(WORDS, "jobs.said_kept", language, num=kept) if kept else say(WORDS, "jobs.said_delete", language)
    if verb == "retry":
        _retried(desk, account, job)
    else:
        {"pause": pause_job, "resume": resume_job}[verb](desk.store, account, job)
    return say(WORDS, f"jobs.said_{verb}", language)


def listed(desk: Desk, account: str, language: Language) -> dict[str, Any]:
    """The list as the page's script puts it together: HTML of what stands above it, and of each job in parts, so that
    only those are replaced which changed."""
    jobs = jobs_of(desk.store, account, most=MOST_LISTED)
    return {
        "above": "" if jobs else f"<p>{html.escape(say(WORDS, 'jobs.empty', language))}</p>",
        "busy": any(job.state in ("waiting", "running") for job in jobs),
        "jobs": [
            {
                "id": job.id, "state": job.state, "head": _head(job, language), "now": _now(job, language),
                "pictures": _pictures(desk, job, language), "actions": _actions(job, language),
            }
            for job in jobs
        ],
    }  # fmt: skip


def _prompt(job: Job) -> str:
    prompt = job.order.asks[0].prompt
    return html.escape(prompt if len(prompt) <= 120 else f"{prompt[:117]}...")


def _head(job: Job, language: Language) -> str:
    return f"<h3>{_prompt(job)}</h3>"


def _now(job: Job, language: Language) -> str:
    parts = [say(WORDS, f"jobs.{job.state}", language)]
    if job.state == "waiting":
        parts.append(
            say(WORDS, "jobs.ahead", language, num=job.ahead) if job.ahead else say(WORDS, "jobs.next", language)
        )
        if job.wait is not None and job.ahead:
            parts.append(say(WORDS, "jobs.begins", language, time=_time(job.wait, language)))
    parts.append(say(WORDS, "jobs.count", language, done=job.done, num=job.num))
    steps, step = job.order.steps, job.step if job.state == "running" else 0
    if job.state == "running":
        parts.append(say(WORDS, "jobs.step", language, step=step, steps=steps))
        if job.left is not None:
            parts.append(say(WORDS, "jobs.left", language, time=_time(job.left, language)))
    words = " · ".join(html.escape(part) for part in parts)
    why = with_details(*of_both(job.said, language), language)
    message = f'<div class="jobs-message">{why}</div>' if job.said else ""
    name = html.escape(say(WORDS, "jobs.progress", language))
    bar = f'<progress aria-label="{name}" max="{job.num * steps}" value="{job.done * steps + step}"></progress>'
    return f"<p>{words}</p>{message}{'' if job.is_over else bar}"


def _time(seconds: float, language: Language) -> str:
    if seconds < 90:
        return say(WORDS, "jobs.seconds", language, num=max(1, round(seconds)))
    return say(WORDS, "jobs.minutes", language, num=round(seconds / 60))


def _pictures(desk: Desk, job: Job, language: Language) -> str:
    label = say(PAGE_WORDS, "label", language)
    shown = []
    for picture in pictures_of_job(desk.store, job.account, job.id):
        name = say(WORDS, "jobs.picture", language, num=picture.number + 1)
        alt = html.escape(f"{label}. {name}. {picture.label} {picture.sample.text[:200]}")
        shown.append(
            f'<a href="/pictures/{picture.id}.png" target="_blank" data-view="{picture.id}">'
            f'<img src="/pictures/{picture.id}.png" alt="{alt}" loading="lazy" width="72" height="72"></a>'
        )
    if job.state == "running" and (path := preview_of(desk.store, job.id)).is_file():
        alt = html.escape(f"{label}. {say(WORDS, 'jobs.preview', language)}")
        time = path.stat().st_mtime_ns if path.is_file() else 0
        shown.append(
            f'<img class="jobs-preview" src="/previews/{job.id}.png?{time}" alt="{alt}" width="72" height="72">'
        )
    return f"{''.join(shown)}<small>{html.escape(label)}</small>" if shown else ""


def _actions(job: Job, language: Language) -> str:
    prompt = _prompt(job)
    confirm = html.escape(say(WORDS, "jobs.confirm", language))
    buttons = []
    for verb in ("follow", *ACTIONS[job.state]):
        name = html.escape(say(WORDS, f"jobs.{verb}", language))
        asked = f' data-confirm="{confirm}"' if verb == "delete" else ""
        buttons.append(f'<button type="button" data-act="{verb}"{asked} aria-label="{name}: {prompt}">{name}</button>')
    return "".join(buttons)

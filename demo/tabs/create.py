"""The tab 'Create': a prompt, chosen or written, becomes pictures that say whether they show what was asked."""

from __future__ import annotations

import html
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from vesalius.data.modality import MODALITIES, find_modality, modality_in
from vesalius.demo.create.choices import Menu
from vesalius.demo.create.settings import (
    FROM_PROMPT,
    NEW_SEED,
    first_seed,
    new_seed,
    order_from,
    order_of_upload,
    remark,
    settings_of,
)
from vesalius.demo.create.weakness import told_weak
from vesalius.demo.orders import MAX_GUIDANCE, MAX_NUM, MAX_SEED, MAX_STEPS, MAX_TEXT, Order, order_of
from vesalius.demo.page import Desk, Language, Words, forget, language_of, plainly, say, t, teacher_of, text_within
from vesalius.demo.sentences import Refusal
from vesalius.demo.store.jobs import Job, add_job, find_job, jobs_of
from vesalius.demo.store.pictures import find_picture, pictures_of_job
from vesalius.demo.tabs import builder, create_api
from vesalius.demo.tabs.following import follow, stop_button, turned

ASKED = "() => new URLSearchParams(location.search).get('job') || ''"
TWICE_SECONDS = 1.5
"""A second press within it, with nothing changed, is the first one."""
WORDS: Words = {
    "create.tab": ("Create", "生成"),
    "create.prompt": ("Describe the picture", "描述图像"),
    "create.prompt_hint": ("Chest CT with a 22 mm nodule in the left lung.", "胸部CT，左肺可见22毫米结节。"),
    "create.num": ("Pictures", "图像数量"),
    "create.seed": ("Seed", "种子"),
    "create.seed_info": ("The same words and seed give the same picture.", "相同的描述和种子得到相同的图像。"),
    "create.new_seed": ("New seed", "换一个种子"),
    "create.draw": ("Draw", "生成图像"),
    "create.stop": ("Stop", "停止"),
    "create.go_on": ("Go on", "继续"),
    "create.builder": ("Choose what to show", "选择要显示的内容"),
    "create.more": ("More", "更多设置"),
    "create.modality": ("Modality", "成像方式"),
    "create.from_prompt": ("from the prompt", "由描述决定"),
    "create.steps": ("Steps", "步数"),
    "create.steps_info": ("More take longer; few are coarser.", "步数越多耗时越长；过少则图像粗糙。"),
    "create.guidance": ("Guidance", "引导强度"),
    "create.guidance_info": ("How closely the words are kept to.", "对描述的遵循程度。"),
    "create.negative": ("Leave out", "不希望出现"),
    "create.file": ("Use a picture's settings (PNG)", "调用图像的设置（PNG）"),
    "create.empty": (
        "Pictures appear here, each with what a network sees in it. A picture that you drop on this page gives back "
        "its settings.",
        "图像将显示在此处，并附网络的判读结果。将图像拖放到本页即可调用其设置。",
    ),
    "create.weak": ("Mind: {text}.", "注意：{text}。"),
    "create.choice": ("Choice", "选择"),
}  # fmt: skip


@dataclass
class Followed:
    """Which job each open page shows, so that an older one's stream ends when another is shown."""

    jobs: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def page(self, session: str, job: str) -> Iterator[Any]:
        """Gives a function that says whether this page shows this job still."""
        mark = f"{job}#{time.monotonic()}"
        self.jobs[session] = mark
        try:
            yield lambda: self.jobs.get(session) == mark
        finally:
            if self.jobs.get(session) == mark:
                del self.jobs[session]


def build(desk: Desk) -> None:
    """Lay the tab out."""
    menu, followed = Menu(desk.support), Followed()
    first = builder.first_wish(menu)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            prompt = gr.Textbox(
                label=t("create.prompt"), placeholder=t("create.prompt_hint"), lines=3, max_lines=8,
                value=builder.words_of(first, "en"), elem_id="create-prompt",
            )  # fmt: skip
            warning = gr.HTML(elem_id="create-warning", padding=False)
            with gr.Row():
                num = gr.Number(
                    label=t("create.num"), value=1, precision=0, minimum=1, maximum=MAX_NUM, elem_id="create-num",
                    min_width=80, scale=2,
                )  # fmt: skip
                built = new_seed()
                seed = gr.Number(
                    label=t("create.seed"), value=built, precision=0, minimum=0, maximum=MAX_SEED, min_width=140,
                    scale=4, elem_id="create-seed",
                )  # fmt: skip
                again = gr.Button(t("create.new_seed"), min_width=150, scale=2, elem_id="create-new-seed")
            with gr.Row():
                draw = gr.Button(t("create.draw"), variant="primary", elem_id="create-draw", min_width=140)
                stop = gr.Button(t("create.stop"), interactive=False, elem_id="create-stop", min_width=100)
            with gr.Accordion(t("create.builder"), open=True, elem_id="create-builder"):
                choices = gr.HTML(builder.builder_html(menu, first, "en", text=prompt.value or ""), padding=False)
            with gr.Accordion(t("create.more"), open=False, elem_id="create-more"):
                modality = gr.Dropdown(
                    label=t("create.modality"), value=FROM_PROMPT,
                    choices=[(t("create.from_prompt"), FROM_PROMPT), *((t(f"modality.{m}"), m) for m in MODALITIES)],  # type: ignore[list-item]
                )  # fmt: skip
                steps = gr.Number(
                    label=t("create.steps"), info=t("create.steps_info"), value=desk.model.steps, precision=0,  # type: ignore[arg-type]
                    minimum=1, maximum=MAX_STEPS,
                )  # fmt: skip
                guidance = gr.Number(
                    label=t("create.guidance"), info=t("create.guidance_info"), value=desk.model.guidance, minimum=1,  # type: ignore[arg-type]
                    maximum=MAX_GUIDANCE, step=0.5,
                )  # fmt: skip
                negative = gr.Textbox(label=t("create.negative"), lines=1, elem_id="create-negative")
            file = gr.UploadButton(
                t("create.file"), file_types=[".png"], file_count="single", type="filepath", size="sm",
                elem_id="create-file",
            )  # fmt: skip
        with gr.Column(scale=7, min_width=300, elem_id="create-results"):
            status = gr.HTML(f'<p class="create-status">{html.escape(WORDS["create.empty"][0])}</p>', padding=False,
                             elem_id="create-status")  # fmt: skip
            bar = gr.HTML(padding=False, elem_id="create-bar")
            board = gr.HTML(padding=False, elem_id="create-board")
    choice = gr.Textbox(visible="hidden", elem_id="create-choice", label=t("create.choice"))
    job = gr.Textbox(visible="hidden", elem_id="create-job", label="job")
    settings = [prompt, modality, num, seed, steps, guidance, negative]
    results = [status, bar, board, stop]

    def greet(asked: str, request: gr.Request) -> tuple[Any, ...]:
        """The builder, the first prompt and the hint in the reader's language, where that is not the one they are in:
        an answer that comes late must not undo what was chosen meanwhile. asked: the job of the page's address, whose
        settings are in the fields."""
        language = language_of(request)
        if language == "en":
            return gr.skip(), gr.skip(), gr.skip()
        if asked:
            return builder.builder_html(menu, first, language), gr.skip(), gr.skip()
        text = builder.words_of(first, language)
        empty = f'<p class="create-status">{html.escape(say(WORDS, "create.empty", language))}</p>'
        return builder.builder_html(menu, first, language, text=text), text, empty

    def pick(sent: str, written: str, request: gr.Request) -> tuple[Any, ...]:
        """A choice in the builder becomes a prompt, unless the prompt is the reader's own."""
        teacher_of(desk, request)
        language = language_of(request)
        wish, before, insists = builder.picked(menu, text_within(sent, 2 * builder.MOST_CHARACTERS, "The choice"))
        text = builder.words_of(wish, language)
        known = {before.strip(), *(builder.words_of(first, each) for each in ("en", "zh")), ""}
        kept = not insists and (written or "").strip() not in known
        page = builder.builder_html(menu, wish, language, text=text, kept=kept)
        return page, gr.skip() if kept else text, gr.skip() if kept else _weak(desk, text, None, language)

    def order(
        text: str, chosen: str, many: float, start: float, often: float, strength: float, without: str,
        request: gr.Request,
    ) -> tuple[str, str]:  # fmt: skip
        """Put what is asked for into the queue; the warning says what the base has hardly seen."""
        account = teacher_of(desk, request)
        made = order_from(text, chosen, many, start, often, strength, without)
        found = _add_once(desk, account.name, made)
        return found.id, _weak(desk, made.asks[0].prompt, made.asks[0].modality, language_of(request))

    async def show(name: str, request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
        """A job as it waits and is drawn, until it is over or the page shows another."""
        account, language = teacher_of(desk, request), language_of(request)
        ident = text_within(name, 100, "The job").partition("#")[0].strip()
        if not ident:
            return
        with followed.page(str(request.session_hash), ident) as wanted:
            async for each in follow(desk, account.name, ident, language, wanted=wanted):
                parts = [gr.skip() if part is None else part for part in (each.status, each.bar, each.board)]
                yield *parts, gr.skip() if each.state is None else stop_button(each.state)

    def halt(name: str, request: gr.Request) -> Any:
        """Stop the job that is shown; it keeps what it has drawn, and goes on at a second press."""
        account = teacher_of(desk, request)
        ident = text_within(name, 100, "The job").partition("#")[0].strip()
        return stop_button(turned(desk.store, account.name, ident))

    def recall_picture(wish: str, request: gr.Request) -> tuple[Any, ...]:
        """The settings of a picture of one's own."""
        account = teacher_of(desk, request)
        picture = find_picture(desk.store, account.name, wish.partition("#")[0])
        recipe = picture.sample.recipe()
        return *settings_of(order_of(recipe)), _remark(remark(desk.model, recipe, language_of(request)))

    def recall_job(wish: str, request: gr.Request) -> tuple[Any, ...]:
        """The settings of a job of one's own, and the same remark where it has drawn a picture."""
        account, language = teacher_of(desk, request).name, language_of(request)
        found = find_job(desk.store, account, text_within(wish, 100, "The job").partition("#")[0].strip())
        drawn = pictures_of_job(desk.store, account, found.id)
        told = remark(desk.model, drawn[0].sample.recipe(), language) if drawn else ""
        return *settings_of(found.order), _remark(told)

    def recall(path: str | None, request: gr.Request) -> tuple[Any, ...]:
        """The settings of a PNG that was drawn here or elsewhere, and whether they give the same picture here."""
        try:
            teacher_of(desk, request)
            if not path:
                raise Refusal("No file was sent; choose a PNG", "未收到文件；请选择 PNG")
            made, recipe = order_of_upload(Path(path))
        finally:
            forget(path)
        return *settings_of(made), _remark(remark(desk.model, recipe, language_of(request)))

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    # What may be refused goes through gradio's queue: of what does not, the browser shows no error.
    quick: dict[str, Any] = {**private, "concurrency_limit": None}
    stream: dict[str, Any] = {**quick, "trigger_mode": "multiple"}
    for press in (draw.click, prompt.submit):
        ordered = press(plainly(order), inputs=settings, outputs=[job, warning], **quick)
        ordered.success(plainly(show), inputs=job, outputs=results, **stream)
    link = desk.links["follow"]
    link.input(lambda wish: wish.partition("#")[0], inputs=link, outputs=job, queue=False, **private)
    link.input(plainly(show), inputs=link, outputs=results, **stream)
    # What was said of other words is no warning of these.
    prompt.input(None, outputs=warning, js="() => ''", api_visibility="private")
    link.input(plainly(recall_job), inputs=link, outputs=[*settings, warning], **quick)
    stop.click(plainly(halt), inputs=job, outputs=stop, **quick)
    again.click(None, outputs=seed, js=NEW_SEED, **private)
    choice.input(plainly(pick), inputs=[choice, prompt], outputs=[choices, prompt, warning], **quick)
    desk.links["recall"].input(
        plainly(recall_picture), inputs=desk.links["recall"], outputs=[*settings, warning], **quick
    )
    file.upload(plainly(recall), inputs=file, outputs=[*settings, warning], api_name="recall", show_progress="hidden")
    root = gr.context.Context.root_block
    assert root is not None
    root.load(greet, inputs=job, outputs=[choices, prompt, status], queue=False, js=ASKED, **private)
    root.load(None, inputs=seed, outputs=seed, js=first_seed(built), **private)
    create_api.add(desk, menu)


def _add_once(desk: Desk, account: str, order: Order) -> Job:
    """Add an order; one that the same person gave a moment ago is that one."""
    last = next(iter(jobs_of(desk.store, account, most=1)), None)
    if last is not None and last.order == order and time.time() - last.created < TWICE_SECONDS and not last.is_over:
        return last
    return add_job(desk.store, account, order, max_jobs=desk.config.max_jobs, max_queue=desk.config.max_queue)


def _weak(desk: Desk, prompt: str, modality: str | None, language: Language) -> str:
    """What of a prompt the base has hardly seen; "" where all is well, or that is not known."""
    found = find_modality(modality) if modality else modality_in(prompt)
    if desk.support is None or found is None or len(prompt) > MAX_TEXT:
        return ""
    weak = desk.support.weakness(prompt, found.name)
    return "" if weak is None else _remark(say(WORDS, "create.weak", language, text=told_weak(weak, language)))


def _remark(text: str) -> str:
    return f'<p class="create-remark" role="status">{html.escape(text)}</p>' if text else ""

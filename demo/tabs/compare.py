"""The tab 'Compare': the same seed with one thing changed, step by step, side by side."""

from __future__ import annotations

import asyncio
import html
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Any, cast, get_args

import gradio as gr

from vesalius.demo.board import board
from vesalius.demo.compare.contact_sheet import sheet_path, sheet_pictures
from vesalius.demo.compare.ladder_words import Start
from vesalius.demo.compare.ladders import CHANGES, PAIRS, SCALED, Change, Step, asks, bounds, ladder, refusals, start_of
from vesalius.demo.compare.values import difference_of
from vesalius.demo.create.settings import first_seed, new_seed
from vesalius.demo.orders import MAX_GUIDANCE, MAX_NUM, MAX_SEED, MAX_STEPS, MAX_TEXT, Order
from vesalius.demo.page import (
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
from vesalius.demo.sentences import Refusal, name_of, of_both, sentence
from vesalius.demo.store.jobs import Job, add_job, find_job
from vesalius.demo.store.pictures import StoredPicture, find_picture, pictures_of_job
from vesalius.demo.tabs.following import stop_button, turned

POLL_SECONDS = 0.2
Origin = tuple[str, str]
EXAMPLE = ("Chest CT with a 20 mm nodule in the left lung.", "胸部CT，左肺可见20毫米结节。")
WORDS: Words = {
    "compare.tab": ("Compare", "对比"),
    "compare.intro": (
        "One thing changes from picture to picture; the seed, and with it the patient, stays as it can.",
        "图像之间只改变一点；种子不变，因此“患者”尽可能保持不变。",
    ),
    "compare.prompt": ("Start from this prompt", "起始描述"),
    "compare.prompt_info": (
        "Or press 'Compare' under a picture, which starts from its prompt and seed.",
        "也可以点击图像下方的“对比”，从该图像的描述和种子开始。",
    ),
    "compare.change": ("What changes", "改变什么"),
    "compare.num": ("Pictures", "图像数"),
    "compare.num_info": ("At most; some changes have fewer steps.", "最多；某些改变的步数更少。"),
    "compare.low": ("From", "从"),
    "compare.high": ("To", "到"),
    "compare.range_info": ("mm, number or guidance; empty: all that the base knows.",
        "毫米、数目或引导强度；留空：模型所知的全部范围。",
    ),
    "compare.seed": ("Seed", "种子"),
    "compare.seed_info": ("Empty: a new one.", "留空：随机。"),
    "compare.more": ("More", "更多"),
    "compare.steps": ("Denoising steps", "去噪步数"),
    "compare.guidance": ("Guidance", "引导强度"),
    "compare.draw": ("Draw the row", "生成一组图像"),
    "compare.to_normal": ("Without the finding", "去掉病变"),
    "compare.to_left": ("On the left", "改为左侧"),
    "compare.to_right": ("On the right", "改为右侧"),
    "compare.to_bilateral": ("On both sides", "改为双侧"),
    "compare.to_sides": ("Every side", "各侧别"),
    "compare.to_finding": ("Other findings", "其他病变"),
    "compare.to_size": ("Larger step by step", "逐步增大"),
    "compare.to_count": ("More of them", "数目递增"),
    "compare.to_guidance": ("Guidance step by step", "引导强度递增"),
    "compare.to_seed": ("Other seeds, same prompt", "不同种子，相同描述"),
    "compare.off": ("Not with this prompt:", "此描述不适用："),
    "compare.waiting": ("In the queue; {ahead} before it.", "排队中，前面还有 {ahead} 个任务。"),
    "compare.running": ("Drawing picture {number} of {num} ...", "正在生成第 {number} / {num} 幅……"),
    "compare.paused": ("Paused; let it go on under 'Jobs'.", "已暂停；可在“任务”中继续。"),
    "compare.done": (
        "{num} pictures of seed {seed}: {change}.",
        "{num} 幅图像，种子 {seed}：{change}。",
    ),
    "compare.row": ("The row", "图像组"),
    "compare.open": ("Side by side", "并排查看"),
    "compare.difference": ("What differs", "查看差异"),
    "compare.sheet": ("Download as one picture", "下载为一张图"),
    "compare.prompts": ("The prompts", "各图像的描述"),
    "compare.case": ("Add to case", "加入病例"),
}  # fmt: skip


def build(desk: Desk) -> None:
    """Lay the tab out."""
    gr.Markdown(t("compare.intro"))
    origin = gr.State(("", ""))  # a picture's prompt, and the modality that holds as long as it is not changed
    prompt = gr.Textbox(
        EXAMPLE[0],
        label=t("compare.prompt"),
        info=t("compare.prompt_info"),
        lines=2,
        max_lines=6,
        elem_id="compare-prompt",
    )
    change = gr.Radio(
        [(t(f"compare.to_{c}"), c) for c in CHANGES], value="right", label=t("compare.change"), elem_id="compare-change"
    )
    off = gr.HTML(elem_id="compare-off", padding=False)
    with gr.Row():
        num = gr.Slider(
            2, MAX_NUM, 4, step=1, label=t("compare.num"), info=t("compare.num_info"), elem_id="compare-num",
            visible=False, min_width=240,
        )  # fmt: skip
        low = gr.Number(None, label=t("compare.low"), elem_id="compare-low", visible=False)
        high = gr.Number(
            None, label=t("compare.high"), info=t("compare.range_info"), elem_id="compare-high", visible=False
        )
        built = new_seed()  # gradio shows 0 for none, and 0 would be drawn
        seed = gr.Number(
            built, precision=0, label=t("compare.seed"), info=t("compare.seed_info"), elem_id="compare-seed"
        )
    with gr.Accordion(t("compare.more"), open=False):
        steps = gr.Slider(1, MAX_STEPS, desk.model.steps, step=1, label=t("compare.steps"))
        guidance = gr.Slider(1, MAX_GUIDANCE, desk.model.guidance, step=0.5, label=t("compare.guidance"))
    with gr.Row():
        press = gr.Button(t("compare.draw"), variant="primary", elem_id="compare-draw", min_width=140)
        stop = gr.Button(t("create.stop"), interactive=False, elem_id="compare-stop", min_width=100)
    current = gr.Textbox(visible="hidden", elem_id="compare-job", label="job")
    status = gr.HTML(elem_id="compare-status", padding=False)
    row = gr.HTML(elem_id="compare-row", padding=False)

    def offered(text: object, of: Origin, now: object, request: gr.Request) -> tuple[Any, str]:
        return _offered(desk, text_within(text, MAX_TEXT, "The prompt"), of, now, language_of(request))

    def scaled(chosen: object, text: object, of: Origin) -> tuple[Any, Any, Any]:
        ends: Sequence[float] = (0, 0)
        if chosen in SCALED:
            ends = bounds(_start(desk, text_within(text, MAX_TEXT, "The prompt"), 0, of), cast(Change, chosen))
        shown = [gr.update(visible=chosen in SCALED, value=None, placeholder=f"{n:g}") for n in ends]
        return gr.update(visible=chosen not in PAIRS), shown[0], shown[1]

    def taken(wish: str, request: gr.Request) -> tuple[Any, ...]:
        picture = find_picture(desk.store, teacher_of(desk, request).name, wish.partition("#")[0])
        sample = picture.sample
        return sample.text, (sample.text, sample.modality), sample.seed, sample.steps, sample.guidance

    async def drawn(
        text: object, of: Origin, chosen: object, many: object, first: object, last: object, from_seed: object,
        denoising: object, scale: object, request: gr.Request,
    ) -> AsyncIterator[tuple[Any, ...]]:  # fmt: skip
        start, rungs = _ladder(
            desk, text, chosen, many, first, last, from_seed, of=of, language=language_of(request),
            guidance=_number(scale, "The guidance"),
        )  # fmt: skip
        order = Order(
            asks=asks(rungs, start.modality), steps=int(_number(denoising, "The number of steps")),
            guidance=_number(scale, "The guidance"), kind="compare",
        )  # fmt: skip
        async for job, pictures in _followed(desk, teacher_of(desk, request).name, order):
            told = _told(job, start, str(chosen), language_of(request))
            yield told, _row(pictures, language_of(request)), stop_button(job.state), job.id

    def halt(job: str, request: gr.Request) -> Any:
        """Stop the row that is drawn; it keeps what there is, and goes on at a second press."""
        account = teacher_of(desk, request).name
        return stop_button(turned(desk.store, account, text_within(job, 100, "The job")))

    def greet(now: str, request: gr.Request) -> Any:
        """The example in the reader's language, unless something else was written meanwhile."""
        return EXAMPLE[1] if language_of(request) == "zh" and now == EXAMPLE[0] else gr.skip()

    quick: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    about = {"inputs": [prompt, origin, change], "outputs": [change, off], **quick}
    prompt.change(plainly(offered), trigger_mode="always_last", **about)
    change.change(plainly(scaled), inputs=[change, prompt, origin], outputs=[num, low, high], **quick)
    press.click(
        plainly(drawn), inputs=[prompt, origin, change, num, low, high, seed, steps, guidance],
        outputs=[status, row, stop, current],
        api_visibility="private", show_progress="hidden",
    )  # fmt: skip
    stop.click(plainly(halt), inputs=current, outputs=stop, concurrency_limit=None, **quick)
    link = desk.links["to_compare"]
    link.input(plainly(taken), inputs=link, outputs=[prompt, origin, seed, steps, guidance], **quick)
    root = cast(gr.Blocks, gr.context.Context.root_block)
    root.load(greet, inputs=prompt, outputs=prompt, queue=False, **quick).then(plainly(offered), **about)
    root.load(None, inputs=seed, outputs=seed, js=first_seed(built), api_visibility="private")
    _add_endpoints(desk)


def _add_endpoints(desk: Desk) -> None:
    """The same for scripts."""

    async def compare(
        prompt: str, change: str, steps: int = 4, seed: int = 1, low: float | None = None, high: float | None = None,
        request: gr.Request = None,  # type: ignore[assignment]
    ) -> dict[str, Any]:  # fmt: skip
        """Draw the same seed with one thing changed. change: normal, left, right, bilateral, sides, finding, size,
        count, guidance or seed. steps: pictures, 2 to 8. low and high: of a size in mm, a count or a guidance."""
        account = teacher_of(desk, request).name
        start, rungs = _ladder(
            desk, prompt, change, steps, low, high, seed, language=language_of(request), guidance=desk.model.guidance
        )
        order = Order(
            asks=asks(rungs, start.modality), steps=desk.model.steps, guidance=desk.model.guidance, kind="compare"
        )
        pictures: list[StoredPicture] = []
        async for job, pictures in _followed(desk, account, order):  # noqa: B007
            if job.state == "failed":
                raise Refusal(*(of_both(job.said, each)[0] for each in get_args(Language)))
        return {
            "urls": [f"/pictures/{p.id}.png" for p in pictures], "prompts": [p.sample.text for p in pictures],
            "labels": [p.label for p in pictures],
        }  # fmt: skip

    def compare_sheet(pictures: list[str], request: gr.Request = None) -> str:  # type: ignore[assignment]
        """Where pictures of yours, given by their ids, are fetched side by side as one PNG: each with its label below,
        and with all labels, prompts and seeds in the file's Description."""
        name = teacher_of(desk, request).name
        return sheet_path([p.id for p in sheet_pictures(desk.store, name, pictures)])

    def difference(first: str, second: str, request: gr.Request = None) -> dict[str, Any]:  # type: ignore[assignment]
        """What the second of two pictures, given by their ids, has more than the first: mean absolute difference,
        largest, mean, and the share of pixels that changed, in HU where both have them, else in grey levels."""
        name = teacher_of(desk, request).name
        a, b = (find_picture(desk.store, name, text_within(p, 100, "The picture's id")) for p in (first, second))
        return asdict(difference_of(desk.store, a, b))

    gr.api(plainly(compare), api_name="compare")
    gr.api(plainly(difference), api_name="difference")
    gr.api(plainly(compare_sheet), api_name="compare_sheet")


def _offered(desk: Desk, text: str, of: Origin, now: object, language: Language) -> tuple[Any, str]:
    """The changes that a prompt allows, and HTML of the others with their reasons."""
    try:
        start = _start(desk, text, 0, of)
    except ValueError as error:
        return gr.update(), f'<p class="compare-off">{html.escape(sentence(error, language)[0])}</p>'
    off = refusals(start, desk.support, language)
    able = [c for c in CHANGES if c not in off]
    told = "".join(
        f'<li><span aria-disabled="true">{_said(f"to_{c}", language)}</span> {html.escape(reason)}</li>'
        for c, reason in off.items()
    )
    listed = f'<div class="compare-off"><p>{_said("off", language)}</p><ul>{told}</ul></div>' if told else ""
    choices = [(say(WORDS, f"compare.to_{c}", language), c) for c in able]
    # What was chosen meanwhile stays, unless it cannot be.
    return gr.update(choices=choices, **({} if now in able else {"value": able[0]})), listed


def _ladder(
    desk: Desk, text: object, change: object, num: object, low: object, high: object, seed: object, *,
    language: Language, guidance: float, of: Origin = ("", ""),
) -> tuple[Start, tuple[Step, ...]]:  # fmt: skip
    """The start and its steps, from what a page or a script sent. ValueError in words where they cannot be."""
    prompt = text_within(text, MAX_TEXT, "The prompt")
    from_seed = new_seed() if seed is None else int(_number(seed, "The seed"))
    if not 0 <= from_seed <= MAX_SEED:
        raise Refusal(f"The seed is {from_seed}; expected 0 to {MAX_SEED}", f"种子为 {from_seed}；应为 0 至 {MAX_SEED}")
    if not prompt.strip():
        raise Refusal(
            f"The prompt is empty; describe the start, for instance '{EXAMPLE[0]}'",
            f"描述为空；请描述起点，例如“{EXAMPLE[1]}”",
        )
    start = _start(desk, prompt, from_seed, of)
    first, last = (None if n is None else _number(n, "The range") for n in (low, high))
    steps = ladder(
        start, cast(Change, text_within(change, 20, "The change")), desk.support,
        num=int(_number(num, "The number of pictures")), low=first, high=last, guidance=guidance, language=language,
    )  # fmt: skip
    return start, steps


def _start(desk: Desk, text: str, seed: int, of: Origin) -> Start:
    """What a prompt asks for; of a picture's own prompt the picture says the modality."""
    return start_of(text, seed=seed, modality=of[1] or None if text == of[0] else None, support=desk.support)


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 2**53:
        raise Refusal(f"{what}: expected a number", f"{name_of(what)}：应为数字")
    return value


async def _followed(desk: Desk, account: str, order: Order) -> AsyncIterator[tuple[Job, list[StoredPicture]]]:
    """A new job as it changes, with what it has drawn so far, until it is over."""
    config = desk.config
    job = add_job(desk.store, account, order, max_jobs=config.max_jobs, max_queue=config.max_queue)
    before = None
    while True:
        job = find_job(desk.store, account, job.id)
        pictures = pictures_of_job(desk.store, account, job.id)
        looked = sum(p.checks is not None for p in pictures)
        if (state := (job.state, len(pictures), looked, job.ahead)) != before:
            before = state
            yield job, pictures
        if job.is_over:
            return
        await asyncio.sleep(POLL_SECONDS)


def _told(job: Job, start: Start, change: str, language: Language) -> str:
    """Where a job stands, in a sentence."""
    if job.state == "failed":
        return f'<p role="alert" class="compare-failed">{with_details(*of_both(job.said, language), language)}</p>'
    seeds = {ask.seed for ask in job.order.asks}
    values = {
        "ahead": job.ahead, "number": min(job.done + 1, job.num), "num": job.num,
        "seed": start.seed if len(seeds) == 1 else f"{start.seed} ...",
        "change": say(WORDS, f"compare.to_{change}", language),
    }  # fmt: skip
    return f'<p role="status">{html.escape(say(WORDS, f"compare.{job.state}", language, **values))}</p>'


def _row(pictures: Sequence[StoredPicture], language: Language) -> str:
    """The pictures side by side, and what can be done with all of them."""
    if not pictures:
        return ""
    told = [{"id": p.id, "label": p.label, "prompt": p.sample.text, "seed": p.sample.seed} for p in pictures]
    figures = board(pictures, language, actions=("recall", "download", "dicom"))
    prompts = "".join(f"<li><b>{html.escape(p.label)}</b>: {html.escape(p.sample.text)}</li>" for p in pictures)
    actions = "".join(
        f'<button type="button" data-compare="{does}">{_said(does, language)}</button>'
        for does in ("open", "difference", "sheet", "case")
    )
    return (
        f'<section class="compare-row" aria-label="{_said("row", language)}" '
        f'data-row="{html.escape(json.dumps(told, ensure_ascii=False))}">'
        f'{figures}<div class="compare-actions">{actions}</div><details class="compare-prompts"><summary>'
        f"{_said('prompts', language)}</summary><ol>{prompts}</ol></details></section>"
    )


def _said(key: str, language: Language) -> str:
    return html.escape(say(WORDS, f"compare.{key}", language))

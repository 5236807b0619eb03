"""The page: its tabs in their order, and what they hand each other."""

from __future__ import annotations

from functools import partial
from importlib import resources
from typing import Any

import gradio as gr

from vesalius.demo.page import LABEL, LINKS, WORDS, Desk, Words, account_of, plainly, t
from vesalius.demo.tabs import about, cases, compare, create, jobs, loop, quiz, rate
from vesalius.demo.terms import MODALITY_WORDS

TABS = {
    "create": create, "compare": compare, "cases": cases, "quiz": quiz, "rate": rate, "jobs": jobs, "loop": loop,
    "about": about,
}  # fmt: skip
"""Tabs by their names, in their order."""
FOR_RATERS = ("rate", "about")
"""Tabs of those who may only rate."""
FONTS = ("system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "Noto Sans CJK SC", "Arial", "sans-serif")
HOUR = 3600
"""Each hour, what people uploaded or fetched a day ago is deleted from gradio's own folder."""
TITLE: Words = {
    "title": (
        "# Vesalius\nMedical pictures from words, for teaching and research. "
        "Every picture drawn here is made up and shows no patient. Do not enter patients' data.",
        "# Vesalius\n由文字生成的医学图像，用于教学与研究。此处生成的图像均为合成，不对应任何患者。请勿输入患者信息。",
    ),
    "common.complete": ("Done", "已完成"),  # which gradio tells screen readers, and has no words for
}
# Once our script is there: a page that was opened on a job's address shows that job.
ATTACH = """() => { (function wait(tries) {
  if (window.vesalius?.attach) window.vesalius.attach(); else if (tries) setTimeout(wait, 50, tries - 1);
})(400); }"""

LOG_OUT = '<form method="post" action="/logout"><button>Log out · 退出登录</button></form>'


def build_page(desk: Desk) -> gr.Blocks:
    """All tabs over one desk."""
    with gr.Blocks(title=f"Vesalius - {LABEL}", analytics_enabled=False, delete_cache=(HOUR, 24 * HOUR)) as page:
        gr.HTML(f'<p role="note">{LABEL} · {WORDS["label"][1]}</p>', elem_id="label", padding=False)
        gr.Markdown(t("title"), elem_id="title")
        if desk.config.needs_login:
            gr.HTML(LOG_OUT, elem_id="logout", padding=False)
        for name in LINKS:
            desk.links[name] = gr.Textbox(visible="hidden", elem_id=f"link-{name}", label=name)
        with gr.Tabs() as desk.tabs:
            for link, name in LINKS.items():  # first, since a browser begins what follows when what came before ends
                desk.links[link].input(
                    partial(gr.Tabs, selected=name), outputs=desk.tabs, queue=False, api_visibility="private"
                )
            for name, tab in TABS.items():
                with gr.Tab(t(f"{name}.tab"), id=name, elem_id=f"tab-{name}"):
                    tab.build(desk)
        if desk.config.needs_login:

            def begin(request: gr.Request) -> Any:
                """Who may only rate begins there: every other tab would refuse them."""
                return gr.Tabs(selected="rate") if account_of(desk, request).role == "rater" else gr.skip()

            page.load(plainly(begin), outputs=desk.tabs, api_visibility="private", show_progress="hidden")
        page.load(None, js=ATTACH, api_visibility="private")
    page.queue(max_size=None, default_concurrency_limit=40)  # what waits long waits in the store's queue
    return page


def translations() -> gr.I18n:
    """What all tabs say, for gradio to choose from by the browser's language."""
    words = {
        k: v for each in (WORDS, TITLE, MODALITY_WORDS, *(tab.WORDS for tab in TABS.values())) for k, v in each.items()
    }
    english, chinese = ({k: v[i] for k, v in words.items()} for i in (0, 1))
    return gr.I18n(**{"en": english, "zh": chinese, "zh-CN": chinese, "zh-TW": chinese})


def unseen() -> str:
    """Styles by which who may only rate sees no tab that would refuse them. web/app.js marks the page before it is laid
    out; gradio makes no tab invisible that was never opened. Its bar measures a copy of itself, so that is told too."""
    places = {name: place for place, name in enumerate(TABS, 1) if name not in FOR_RATERS}
    each = [
        f'[data-tab-id="{n}"], #tab-{n}, .tab-wrapper > [aria-hidden] > :nth-child({at})' for n, at in places.items()
    ]
    return f':root[data-role="rater"] :is({", ".join(each)}) {{ display: none; }}'


def look() -> dict[str, Any]:
    """Theme, styles and scripts, as gradio takes them when a page is mounted; not those of the learners' page."""
    web = resources.files("vesalius.demo") / "web"
    files = [p for p in sorted(web.iterdir(), key=lambda p: p.name) if not p.name.startswith("learner.")]
    styles = "\n".join([*(p.read_text() for p in files if p.name.endswith(".css")), unseen()])
    scripts = "".join(f'<script src="/assets/{p.name}"></script>' for p in files if p.name.endswith(".js"))
    theme = gr.themes.Default(primary_hue="indigo", font=FONTS, font_mono=("ui-monospace", "monospace")).set(
        block_info_text_color="*neutral_600", input_placeholder_color="*neutral_500",
        button_primary_background_fill="*primary_600", button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600", button_primary_background_fill_hover_dark="*primary_700",
    )  # fmt: skip
    return {"theme": theme, "css": styles, "head": scripts}

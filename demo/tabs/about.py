"""The tab 'About': what this is for and what not, what draws here, and how to draw a picture again."""

from __future__ import annotations

import html
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gradio as gr

from vesalius.demo.about.cards import cards_of, licence_of, shown
from vesalius.demo.about.snippets import adapters_told, python_lines, shell_line
from vesalius.demo.page import Desk, Language, Words, account_of, language_of, plainly, say, t, text_within
from vesalius.demo.store.pictures import StoredPicture, find_picture, pictures_of
from vesalius.demo.terms import term
from vesalius.models.support import WEAK, Support

MOST_PICTURES = 30
WORDS: Words = {
    "about.tab": ("About", "关于"),
    "about.use": (
        "## What it is for\n"
        "Teaching: pictures that show a finding, its other side, its other size, with a case and a quiz around them. "
        "Research on methods: data that is labelled because it was asked for, and a loop that can be watched.\n\n"
        "**Every picture on every page, in every file and every export says that it is synthetic and not for "
        "diagnosis.** It says so beside the picture, in the file's own text, in DICOM's tags and to screen readers.\n\n"
        "## What it is not for\n"
        "- No diagnosis, no treatment, no advice to a patient; it is no medical device.\n"
        "- No training or test set of a clinical product, unless you show on real images that it helps.\n"
        "- No picture of it may be passed off as a patient's.\n"
        "- Do not enter patients' data. Prompts are kept on this server with the pictures.\n\n"
        "## Its limits\n"
        "- It draws what it was trained on, at 128 pixels unless the base is another. A wrong picture looks as "
        "sure as a right one.\n"
        "- Sizes and counts are often not what was asked for. The badges below a picture tell, each with how often "
        "it is wrong itself: it was measured on held-out images whose truth is known.\n"
        "- A badge speaks of what was asked. It does not say that the picture is good anatomy; look for yourself.\n"
        "- Some pictures lie near images of the training. Look for copies (`vesalius eval`) before you share many.",
        "## 用途\n"
        "教学：展示某种病变、其另一侧、另一大小的图像，并配以病例和测验。"
        "方法学研究：按描述生成、自带标注的数据，以及可观察的改进循环。\n\n"
        "**每个页面、每个文件、每次导出中的每一幅图像均注明：合成图像，不可用于诊断**。"
        "该说明位于图像旁、文件文本、DICOM 标签及屏幕阅读器文本中。\n\n"
        "## 不适用于\n"
        "- 诊断、治疗或为患者提供建议；本软件不是医疗器械。\n"
        "- 作为临床产品的训练集或测试集，除非您在真实图像上证明其有效。\n"
        "- 将其图像冒充患者图像。\n"
        "- 请勿输入患者信息。描述文字会与图像一起保存在本服务器上。\n\n"
        "## 局限\n"
        "- 只能生成其训练过的内容，默认 128 像素。错误的图像看起来与正确的一样可信。\n"
        "- 大小和数量常与要求不符。图像下方的标记会给出判断，并注明其自身的错误率（在已知真值的留出图像上测得）。\n"
        "- 标记只针对所要求的内容，并不表示解剖结构正确，请自行判断。\n"
        "- 部分图像与训练图像相近。大量分享前请先查重（`vesalius eval`）。",
    ),
    "about.repeat": ("## Draw a picture again", "## 重新生成图像"),
    "about.which": ("Picture", "图像"),
    "about.repeat_info": ("Your newest pictures; the newest is chosen.", "您最近的图像；默认选择最新一幅。"),
    "about.shell": ("On the command line", "命令行"),
    "about.python": ("In Python", "Python"),
    "about.copy": ("Copy", "复制"),
    "about.none": ("Draw a picture first; its lines appear here.", "请先生成图像，此处将显示相应代码。"),
    "about.where": (
        "Run it where the folders of base and adapters lie, if they are folders. The same processor and versions give "
        "the same pixels.",
        "若基础模型和适配器是文件夹，请在其所在目录运行。处理器和版本相同时像素完全一致。",
    ),
    "about.support": ("What the base was trained on", "基础模型的训练内容"),
    "about.untold": (
        "This base, or an adapter of yours, does not say what it was trained on.",
        "该基础模型或您的适配器未说明其训练内容。",
    ),
    "about.modality": ("Modality", "成像方式"),
    "about.organ": ("Region or organ", "部位或器官"),
    "about.finding": ("Finding", "病变"),
    "about.real": ("Real images", "真实图像"),
    "about.phantom": ("Phantoms", "体模"),
    "about.few": ("few", "少"),
    "about.rows": (
        "Training images by what they show; an image with two findings counts for both. Phantoms are drawn, not "
        "photographed. Below {weak} images a finding is marked as few.",
        "按显示内容统计的训练图像；含两种病变的图像分别计数。体模为绘制而非拍摄。少于 {weak} 幅的标记为“少”。",
    ),
    "about.cards": ("Model cards", "模型卡"),
    "about.no_card": ("{name} has no model card.", "{name} 没有模型卡。"),
    "about.licences": ("Licences", "许可"),
    "about.licence": ("{name}: {licence}", "{name}：{licence}"),
    "about.unnamed": ("no licence is named in its card", "其模型卡未注明许可"),
    "about.sources": (
        "Vesalius itself is under Apache-2.0. The sources of the training images, with their credits and licences, are "
        "in the base's model card below. Phantoms are CC0.",
        "Vesalius 采用 Apache-2.0 许可。训练图像的来源、署名和许可见下方基础模型的模型卡。体模采用 CC0。",
    ),
    "about.cite": ("How to cite", "引用方式"),
    "about.here": ("What draws here", "当前模型"),
    "about.model": (
        "Base {base}, digest {digest}. Adapter: {adapter}. {size} x {size} pixels, {steps} steps, guidance {guidance}. "
        "Vesalius {version}.",
        "基础模型 {base}，摘要 {digest}。适配器：{adapter}。{size} x {size} 像素，{steps} 步，引导强度 {guidance}。"
        "Vesalius {version}。",
    ),
    "about.no_adapter": ("none", "无"),
}  # fmt: skip


def build(desk: Desk) -> None:
    """Lay the tab out."""
    cards = cards_of(desk.config)
    gr.Markdown(t("about.use"))
    gr.Markdown(t("about.repeat"))
    which = gr.Dropdown(
        label=t("about.which"), info=t("about.repeat_info"), choices=[], value=None, elem_id="about-which",  # type: ignore[arg-type]
    )  # fmt: skip
    shell = gr.HTML(padding=False, elem_id="about-shell")
    python = gr.HTML(padding=False, elem_id="about-python")
    note = gr.HTML(padding=False)
    facts = gr.HTML(_facts(desk, cards, "en"), padding=False, elem_id="about-facts")
    for name, card in cards:
        if card:
            with gr.Accordion(name, open=False):
                gr.Markdown(shown(card), sanitize_html=True, header_links=False)
    root, tab = gr.context.Context.root_block, gr.context.Context.block
    assert root is not None

    def refresh(request: gr.Request) -> tuple[Any, ...]:
        """The newest pictures, the newest chosen."""
        account, language = account_of(desk, request), language_of(request)
        found = pictures_of(desk.store, account.name, most=MOST_PICTURES)
        choices = [(_name(p), p.id) for p in found]
        chosen = gr.Dropdown(choices=choices, value=found[0].id if found else None)
        return chosen, *_lines(desk, found[0] if found else None, language)

    def choose(picture: str | None, request: gr.Request) -> tuple[Any, ...]:
        """The lines of one picture."""
        account = account_of(desk, request)
        found = find_picture(desk.store, account.name, text_within(picture, 100, "The picture")) if picture else None
        return _lines(desk, found, language_of(request))

    def greet(request: gr.Request) -> str:
        return _facts(desk, cards, language_of(request))

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    if isinstance(tab, gr.Tab):
        tab.select(plainly(refresh), outputs=[which, shell, python, note], **private)
    which.input(plainly(choose), inputs=which, outputs=[shell, python, note], **private)
    root.load(greet, outputs=facts, **private)


def _name(picture: StoredPicture) -> str:
    text = " ".join(picture.sample.text.split())
    return f"{picture.sample.seed}: {text if len(text) <= 70 else text[:69] + '…'}"


def _lines(desk: Desk, picture: StoredPicture | None, language: Language) -> tuple[str, str, str]:
    if picture is None:
        return "", "", f"<p>{_say('none', language)}</p>"
    adapters = adapters_told(desk.config.adapter)
    shell = _code("shell", shell_line(picture.sample, desk.model.base, adapters), language)
    python = _code("python", python_lines(picture.sample, desk.model.base, adapters), language)
    return shell, python, f"<p>{_say('where', language)}</p>"


def _code(name: str, text: str, language: Language) -> str:
    """Lines to copy, by mouse or keyboard."""
    label = _say(name, language)
    return (
        f'<div class="about-code"><strong>{label}</strong><button type="button" data-copy="1">{_say("copy", language)}'
        f'</button><pre tabindex="0" aria-label="{label}"><code>{html.escape(text)}</code></pre></div>'
    )


def _facts(desk: Desk, cards: list[tuple[str, str]], language: Language) -> str:
    """What draws here, what it was trained on, licences, and how to cite."""
    model = desk.model
    adapter = ", ".join(adapters_told(desk.config.adapter)) or say(WORDS, "about.no_adapter", language)
    told = say(
        WORDS, "about.model", language, base=model.base, digest=model.base_digest[:12], adapter=adapter,
        size=model.image_size, steps=model.steps, guidance=f"{model.guidance:g}", version=_version(),
    )  # fmt: skip
    licences = [
        say(
            WORDS,
            "about.licence",
            language,
            name=name,
            licence=licence_of(card) or say(WORDS, "about.unnamed", language),
        )
        for name, card in cards
    ]
    missing = [say(WORDS, "about.no_card", language, name=name) for name, card in cards if not card]
    cite = _say("cite", language)
    parts = [
        f"<h2>{_say('here', language)}</h2><p>{html.escape(told)}</p>",
        f"<h2>{_say('support', language)}</h2>{support_table(desk.support, language)}",
        f"<h2>{_say('licences', language)}</h2><p>{_say('sources', language)}</p>{_list(licences)}",
        f'<h2>{cite}</h2><pre tabindex="0" aria-label="{cite}">{html.escape(citation())}</pre>',
        f"<h2>{_say('cards', language)}</h2>{_list(missing)}",
    ]
    return f'<div class="about-facts">{"".join(parts)}</div>'


def _list(lines: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


def support_table(support: Support | None, language: Language) -> str:
    """Training images by modality, organ and finding."""
    if support is None:
        return f"<p>{_say('untold', language)}</p>"
    counts: dict[tuple[str, str, str], list[int]] = {}
    for row in support.shown:
        for kind in sorted({f.kind for f in row.findings}) or [""]:
            numbers = counts.setdefault((row.modality, row.organ or "", kind), [0, 0])
            numbers[0] += row.num_real
            numbers[1] += row.num_phantom
    names = ("modality", "organ", "finding", "real", "phantom")
    head = "".join(f'<th scope="col">{_say(name, language)}</th>' for name in names)
    ranks = list(support.modalities)
    body = "".join(
        _row(place, numbers, language)
        for place, numbers in sorted(counts.items(), key=lambda c: (ranks.index(c[0][0]), c[0][1], -sum(c[1])))
    )
    return (
        f"<p>{_say('rows', language, weak=WEAK)}</p>"
        f'<div class="about-table" role="region" tabindex="0" aria-label="{_say("support", language)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(place: tuple[str, str, str], numbers: list[int], language: Language) -> str:
    few = f" ({_say('few', language)})" if sum(numbers) < WEAK else ""
    words = [html.escape(term(word, language)) if word else "" for word in place]
    return (
        f'<tr><th scope="row">{words[0]}</th><td>{words[1]}</td><td>{words[2]}{few}</td>'
        + "".join(f"<td>{n:,}</td>" for n in numbers)
        + "</tr>"
    )


def citation() -> str:
    """As BibTeX."""
    return (
        "@software{vesalius,\n  title = {Vesalius: from clinical text to medical images},\n"
        f"  author = {{{{The Vesalius authors}}}},\n  version = {{{_version()}}},\n  license = {{Apache-2.0}}\n}}"
    )


def _version() -> str:
    try:
        return version("vesalius")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0"


def _say(key: str, language: Language, **values: object) -> str:
    return html.escape(say(WORDS, f"about.{key}", language, **values))

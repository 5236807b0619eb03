"""The loops as a page: where each stands, what waits for a decision, and its rounds in words, pictures and curves."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from vesalius.demo.loop import chinese, loops
from vesalius.demo.loop.loops import MOST_REASON, MOST_WAITING, Example
from vesalius.demo.page import WORDS as PAGE_WORDS
from vesalius.demo.page import Desk, Language, Words, alt_of, say, with_details
from vesalius.demo.sentences import sentence
from vesalius.demo.store.accounts import Account
from vesalius.eval.pictures import shortened
from vesalius.eval.report import Table
from vesalius.improve.deciding.promotion import table_of
from vesalius.improve.telling.report import HEAD, reviewed, stand
from vesalius.improve.telling.rounds import asked_tables, refusal_tables

MOST_WHY = 400
"""Characters of a reason in a table: a sentence that is cut would be known by no pattern."""
RUNNING_SECONDS = 120
"""A loop that wrote within so long may be running."""
WORDS: Words = {
    "loop.tab": ("Loop", "改进循环"),
    "loop.none": (
        "No loop is watched here. A loop draws pictures, refuses those that fail its gates, learns from the rest, and "
        "is promoted only where it became better. Begin one, with what is rated here, and watch it:",
        "此处没有改进循环。循环会生成图像，剔除未通过检查的，从其余图像学习，只有变得更好才会采用。"
        "可用此处的评分开始并查看：",
    ),
    "loop.store": (
        "STORE is the folder of --store, LOOP one of your choice, and RECIPE.toml names the data. With --review each "
        "round waits here for an owner.",
        "STORE 为 --store 的文件夹，LOOP 可自选，RECIPE.toml 指定数据。使用 --review 时每一轮都在此等待所有者审核。",
    ),
    "loop.more": ("How to begin a loop", "如何开始一个循环"),
    "loop.written": ("Last written {ago} ago.", "最近写入：{ago}前。"),
    "loop.runs": ("While it runs, this page looks again by itself.", "运行期间本页会自动刷新。"),
    "loop.seconds": ("{n} s", "{n} 秒"),
    "loop.minutes": ("{n} min", "{n} 分钟"),
    "loop.hours": ("{n} h", "{n} 小时"),
    "loop.days": ("{n} days", "{n} 天"),
    "loop.waits": ("Round {n} waits for review", "第 {n} 轮等待审核"),
    "loop.waits_lead": (
        "{num} samples passed the gates. Mark those to keep out; the others are let into the training data with "
        "'Approve'. Nothing is written to the loop before that.",
        "{num} 幅样本通过检查。请标记要排除的；点击“批准”后其余进入训练数据。在此之前不会写入循环。",
    ),
    "loop.watch": ("An owner decides which are let in.", "由所有者决定采用哪些。"),
    "loop.first": ("The first {shown} are shown; review.csv in the round's folder lists all.",
                   "仅显示前 {shown} 幅；该轮文件夹中的 review.csv 列出全部。"),
    "loop.out": ("Keep out", "排除"),
    "loop.reason": ("Why these are kept out (goes into the ledger)", "排除原因（写入账本）"),
    "loop.approve": ("Approve the round", "批准本轮"),
    "loop.sure": ("Let {let_in} samples in and keep {kept_out} out? This cannot be undone.",
                  "采用 {let_in} 幅并排除 {kept_out} 幅？此操作不可撤销。"),
    "loop.chosen": ("{let_in} let in, {kept_out} kept out", "采用 {let_in} 幅，排除 {kept_out} 幅"),
    "loop.approved": (
        "Round {n} is approved: {accepted} samples let in, {kept_out} kept out. The loop goes on with: "
        "vesalius improve resume {name}",
        "第 {n} 轮已批准：采用 {accepted} 幅，排除 {kept_out} 幅。继续运行：vesalius improve resume {name}",
    ),
    "loop.round": ("Round {n}", "第 {n} 轮"),
    "loop.promoted": ("promoted", "已采用"),
    "loop.rolled": ("rolled back", "已回退"),
    "loop.begins": ("the data alone", "仅用数据"),
    "loop.open": ("not decided yet", "尚未决定"),
    "loop.passed": ("{accepted} of {samples} samples passed", "{samples} 幅样本中 {accepted} 幅通过"),
    "loop.decision": ("Decision", "决定"),
    "loop.refused": ("Refused by '{gate}'", "被“{gate}”剔除"),
    "loop.refusals": ("What was refused, and why", "剔除的样本及原因"),
    "loop.curves": ("Over the rounds", "各轮变化"),
    "loop.lost": ("The server did not answer; this page tries again.", "服务器无响应，将自动重试。"),
}  # fmt: skip
LINES = (
    "vesalius improve run RECIPE.toml --out LOOP --review --ratings STORE/ratings.jsonl",
    "vesalius demo --loop LOOP",
)  # fmt: skip


def page_of(desk: Desk, account: Account, language: Language, *, stamp: str = "") -> dict[str, Any]:
    """The page as HTML with its stamp; without HTML where that stamp is still right. ValueError of who only rates."""
    loops.watcher(account)
    stamps = []
    for folder in desk.config.loop:
        index = loops.waiting_of(folder)
        out = sorted(loops.kept_out(desk, folder, index)) if index is not None else []
        stamps.append(f"{loops.stamp_of(folder)}/{out}")
    now = f"{language}|{'|'.join(stamps)}"
    if now == stamp:
        return {"stamp": now}
    parts = [_loop(desk, account, language, place, folder) for place, folder in enumerate(desk.config.loop)]
    if not parts:
        parts = [f"<p>{_say('none', language)}</p>{_lines(language)}"]
    else:
        parts.append(f"<details><summary>{_say('more', language)}</summary>{_lines(language)}</details>")
    words = {k: WORDS[f"loop.{k}"][language == "zh"] for k in ("sure", "chosen", "approved", "lost")}
    return {"stamp": now, "html": "".join(parts), "words": words}


def _say(key: str, language: Language, **values: object) -> str:
    return html.escape(say(WORDS, f"loop.{key}", language, **values), quote=False)


def _lines(language: Language) -> str:
    code = "\n".join(LINES)
    return f'<pre tabindex="0">{code}</pre><p>{_say("store", language)}</p>'


def _loop(desk: Desk, account: Account, language: Language, place: int, folder: Path) -> str:
    name = html.escape(folder.name)
    try:
        loops.loop_at(desk, place)
        status = loops.read_loop(folder)
        rests = status["waiting"] is not None or bool(status["ended"])
        parts = [
            f'<p class="loop-stand">{_told(stand(status), language)}</p>', _last_written(folder, language, rests=rests),
            *_remarks(status, language), _review(desk, account, language, place, folder, status["waiting"]),
            _curves(folder, language),
            *(_round(language, place, folder, row) for row in reversed(status["rounds"])),
        ]  # fmt: skip
        body = "".join(parts)
    except loops.BROKEN as error:
        told = with_details(*sentence(ValueError(loops.sentence_of(folder, error)), language), language)
        body = f'<div role="status" class="loop-remark">{told}</div>'
    return f'<section class="loop-one" aria-label="{name}"><h2>{name}</h2>{body}</section>'


def _told(text: str, language: Language) -> str:
    """What the loop says of itself, in a language, as HTML."""
    return html.escape(chinese.told(text) if language == "zh" else text)


def _remarks(status: Mapping[str, Any], language: Language) -> list[str]:
    """The alarm and the end of a loop, where there are such."""
    told = [f"ALARM: {status['alarm']}"] if status["alarm"] else []
    told += [status["ended"]] if status["ended"] else []
    return [f'<p class="loop-remark">{_told(line, language)}</p>' for line in told]


def _last_written(folder: Path, language: Language, *, rests: bool) -> str:
    ago = loops.seconds_ago(folder)
    if ago == float("inf"):
        return ""
    steps = (("seconds", 1, 100), ("minutes", 60, 6000), ("hours", 3600, 172_800), ("days", 86_400, float("inf")))
    unit, size = next((unit, size) for unit, size, most in steps if ago < most)
    told = _say("written", language, ago=say(WORDS, f"loop.{unit}", language, n=int(ago / size)))
    return f"<p>{told}{' ' + _say('runs', language) if ago < RUNNING_SECONDS and not rests else ''}</p>"


def _review(
    desk: Desk, account: Account, language: Language, place: int, folder: Path, index: int | None
) -> str:  # fmt: skip
    """What waits for a decision, with its buttons where this person decides."""
    if index is None:
        return ""
    out = loops.kept_out(desk, folder, index)
    samples = list(loops.waiting_samples(folder, index))
    figures = [
        _figure(place, index, each, language, box=account.role == "owner", on=each.sha256 in out)
        for each in islice(samples, MOST_WAITING)
    ]
    lead = _say("waits_lead" if account.role == "owner" else "watch", language, num=len(samples))
    first = f"<p>{_say('first', language, shown=MOST_WAITING)}</p>" if len(samples) > MOST_WAITING else ""
    act = ""
    if account.role == "owner":
        counts = _say("chosen", language, let_in=len(samples) - len(out), kept_out=len(out))
        act = (
            f'<label>{_say("reason", language)}<input class="loop-reason" maxlength="{MOST_REASON}"></label>'
            f'<p class="loop-chosen" role="status">{counts}</p>'
            f'<button type="button" class="loop-approve">{_say("approve", language)}</button>'
        )
    return (
        f'<section class="loop-review" data-loop="{place}" data-round="{index}" data-num="{len(samples)}" '
        f'data-out="{len(out)}"><h3>{_say("waits", language, n=index)}</h3><p>{lead}</p>{first}'
        f'<div class="loop-pictures">{"".join(figures)}</div>{act}</section>'
    )


def _figure(
    place: int, index: int, each: Example, language: Language, *, box: bool = False, on: bool = False
) -> str:  # fmt: skip
    text = html.escape(shortened(each.text, 160))
    label = html.escape(say(PAGE_WORDS, "label", language))
    reason = f'<span class="loop-why">{_told(each.reason, language)}</span>' if each.reason else ""
    keep = (
        f'<label><input type="checkbox" class="loop-out" data-sample="{each.sha256}"{" checked" if on else ""}>'
        f" {_say('out', language)}</label>"
        if box
        else ""
    )
    return (
        f'<figure><img loading="lazy" width="128" height="128" src="/loops/{place}/{index}/{each.sha256}.png" '
        f'alt="{html.escape(alt_of(shortened(each.text, 160), language))}"><figcaption><span>{text}</span>{reason}'
        f"<small>{label}</small>{keep}</figcaption></figure>"
    )


def _round(language: Language, place: int, folder: Path, row: Mapping[str, Any]) -> str:
    path, decision = folder / row["round"], row["decision"]
    index = int(row["round"].removeprefix("round-"))
    key = "open" if decision is None else "begins" if not index else "promoted" if decision["promoted"] else "rolled"
    passed = _say("passed", language, accepted=row["accepted"], samples=row["samples"]) if row["samples"] else ""
    colon, comma = ("：", "；") if language == "zh" else (": ", "; ")
    head = f"{_say('round', language, n=index)}{colon}{_say(key, language)}{comma if passed else ''}{passed}"
    parts = [f"<p>{_told(line, language)}</p>" for line in (*row["lines"], *reviewed(path))]
    if decision and decision.get("rows"):
        told = Table(head=HEAD, rows=table_of(decision))
        parts.append(f"<h4>{_say('decision', language)}</h4>{_table(told, language)}")
    if row["samples"]:
        parts.append(f"<h4>{_say('refusals', language)}</h4>")
        parts += [_table(each, language) for each in (*refusal_tables(path, most=MOST_WHY), *asked_tables(path))]
    for gate, examples in loops.examples_of(path).items():
        figures = "".join(_figure(place, index, each, language) for each in examples)
        named = chinese.gate(gate) if language == "zh" else gate
        parts.append(
            f'<h5>{_say("refused", language, gate=named)}</h5><div class="loop-pictures">{figures}</div>'
        )  # fmt: skip
    return f'<details class="loop-round" data-round="{index}"><summary>{head}</summary>{"".join(parts)}</details>'


def _table(table: Table, language: Language) -> str:
    table = chinese.table(table) if language == "zh" else table
    head = "".join(f'<th scope="col">{html.escape(str(cell))}</th>' for cell in table.head)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    inner = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    inner = f'<div class="loop-table" tabindex="0">{inner}</div>'
    return f"<details><summary>{html.escape(table.folded)}</summary>{inner}</details>" if table.folded else inner


def _curves(folder: Path, language: Language) -> str:
    plots = "".join(
        f'<img class="loop-curve" src="data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}" '
        f'alt="{html.escape(told)}">'
        for svg, told in loops.curves_of(folder, language)
    )
    shown = f'<div class="loop-curves">{plots}</div>'
    return f"<details><summary>{_say('curves', language)}</summary>{shown}</details>" if plots else ""

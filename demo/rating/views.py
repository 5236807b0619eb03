"""What page and scripts are told while somebody rates: tickets and texts, never where a picture comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from vesalius.demo.page import Desk, Language, Words, say, text_within
from vesalius.demo.rating.panel import WORDS as PANEL_WORDS
from vesalius.demo.rating.panel import agreement_lines, agreement_of
from vesalius.demo.rating.pool import Pool, open_pool, picture_png, pictures_put, put_to_rating
from vesalius.demo.rating.queue import (
    MOST_COMMENT,
    MOST_NAME,
    Rater,
    Turn,
    answer,
    find_turn,
    go_back,
    next_turn,
    progress,
    rater_key_of,
    rater_of,
)  # fmt: skip
from vesalius.demo.sentences import RATER, Refusal
from vesalius.demo.store.accounts import LOCAL, Account
from vesalius.demo.store.pictures import pictures_of
from vesalius.eval.pictures import shortened
from vesalius.improve.people.ratings import Level

SHOWN_WORDS: Words = {
    "rate.tab": ("Rate", "评分"),
    "rate.lead": (
        "Most pictures are synthetic, some are real, and some come twice. Say what you see, on scales from 1, "
        "the worst, to 5, the best; raters are not told which is which.",
        "多数图像为合成，少数为真实，部分会重复出现。请如实评分（1 最差，5 最好）；不会告知评分者来源。",
    ),
    "rate.label": ("Synthetic or real: not for diagnosis", "合成或真实：不可用于诊断"),
    "rate.name": ("Name or pseudonym to rate by", "评分所用姓名或化名"),
    "rate.level": ("Level", "级别"),
    "rate.level_": ("not said", "不说明"),
    "rate.level_student": ("student", "医学生"),
    "rate.level_resident": ("resident", "住院医师"),
    "rate.level_fellow": ("fellow", "专科培训医师"),
    "rate.level_attending": ("attending", "主治医师及以上"),
    "rate.level_other": ("other", "其他"),
    "rate.as": ("You rate as {name}.", "您以 {name} 的身份评分。"),
    "rate.one": ("One at a time", "逐幅评分"),
    "rate.pair": ("Pairs of one prompt", "同一文字的两幅比较"),
    "rate.auto": ("Go on by itself once all is said", "全部选定后自动进入下一幅"),
    "rate.start": ("Start rating", "开始评分"),
    "rate.realism": PANEL_WORDS["rate.realism"],
    "rate.agreement": ("Fits the text", "与文字相符"),
    "rate.artefact": ("Artefact", "伪影"),
    "rate.teach": ("Teach with it", "可用于教学"),
    "rate.preference": ("Which is better?", "哪幅更好？"),
    "rate.none": ("none", "无"),
    "rate.minor": ("minor", "轻微"),
    "rate.major": ("major", "明显"),
    "rate.yes": ("yes", "是"),
    "rate.no": ("no", "否"),
    "rate.first": ("first", "第一幅"),
    "rate.tie": ("tie", "相当"),
    "rate.second": ("second", "第二幅"),
    "rate.low": ("1 worst, 5 best", "1 最差，5 最好"),
    "rate.text": ("Text", "文字"),
    "rate.comment": ("Comment", "备注"),
    "rate.back": ("Back", "返回"),
    "rate.next": ("Next", "下一幅"),
    "rate.enough": ("Enough for today", "今天到此为止"),
    "rate.lacks": ("Say first: {what}", "请先选择：{what}"),
    "rate.count": (
        "{rated} rated, {today} of them today, of about {about}",
        "已评 {rated} 幅，今天 {today} 幅，共约 {about} 幅",
    ),
    "rate.all_done": ("You have rated everything there is. Thank you.", "您已评完全部图像，谢谢。"),
    "rate.nothing": (
        "There is nothing to rate yet: put pictures to rating below, or start the demo with --rate SAMPLES.",
        "目前没有可评分的图像：请在下方加入图像，或以 --rate SAMPLES 启动。",
    ),
    "rate.no_pairs": (
        "No text has two pictures yet: draw several pictures of one text, and put them to rating.",
        "尚无同一文字的两幅图像：请为同一文字生成多幅并加入评分。",
    ),
    "rate.alt": ("Picture to be rated; synthetic or real: not for diagnosis", "待评分图像；合成或真实，不可用于诊断"),
    "rate.keys": (
        "Keys: 1 to 5 answer the marked line, Enter goes on, Backspace goes back, C comments, Esc ends.",
        "按键：1 至 5 回答当前行，Enter 下一幅，Backspace 返回，C 备注，Esc 结束。",
    ),
    "rate.lost": (
        "The server did not answer; what you said is still here. Try again.",
        "服务器无响应；您的选择仍在，请重试。",
    ),
    "rate.panel": ("Agreement", "一致性"),
    "rate.refresh": ("Work it out", "计算"),
    "rate.put": ("Pictures to be rated", "待评分图像"),
    "rate.put_lead": (
        "Pictures of yours that raters may see. Others see those that you mark, with their texts, and nothing else.",
        "勾选后，评分者可看到这些图像及其文字，其他内容不可见。",
    ),
    "rate.put_none": ("You have made no pictures yet; make some under 'Create'.", "您还没有图像；请先在“生成”中制作。"),
    "rate.unread": (
        "A folder of {option} cannot be read; the server's log says why.",
        "{option} 的文件夹无法读取，原因见服务器日志。",
    ),
    "rate.ratings": (
        "What is said here is kept in STORE/ratings.jsonl, STORE being the folder of --store. The loop heeds it: "
        "vesalius improve run RECIPE.toml --out LOOP --ratings STORE/ratings.jsonl",
        "评分保存在 STORE/ratings.jsonl（STORE 为 --store 的文件夹），改进循环可读取："
        "vesalius improve run RECIPE.toml --out LOOP --ratings STORE/ratings.jsonl",
    ),
}  # fmt: skip
DRAWN_WORDS: Words = {
    "rate.lead": (
        "All pictures are synthetic, and some come twice. Say what you see, on scales from 1, the worst, to 5, "
        "the best.",
        "所有图像均为合成，部分会重复出现。请如实评分（1 最差，5 最好）。",
    ),
    "rate.label": ("Synthetic: not for diagnosis", "合成图像：不可用于诊断"),
    "rate.alt": ("Picture to be rated. Synthetic: not for diagnosis", "待评分图像。合成图像：不可用于诊断"),
}
"""What is said instead where no real image can come among them."""
WORDS: Words = {**PANEL_WORDS, **SHOWN_WORDS}
MOST_PUT = 60


def opening(desk: Desk, account: Account, language: Language) -> dict[str, Any]:
    """What the page opens with: its words, who rates, and what this person may do."""
    mixed = desk.config.real_share > 0 and open_pool(desk.config, desk.store).real
    words = SHOWN_WORDS if mixed else {**SHOWN_WORDS, **DRAWN_WORDS}
    told: dict[str, Any] = {
        "words": {k.removeprefix("rate."): v[language == "zh"] for k, v in words.items()},
        "asks_name": account.name == LOCAL, "may_put": account.role != "rater", "owns": account.role == "owner",
        "levels": list(get_args(Level)), "most_name": MOST_NAME, "most_comment": MOST_COMMENT, "rater": "", "level": "",
        "notes": [],
    }  # fmt: skip
    try:
        rater = rater_of(desk.store, account)
    except ValueError:
        return told  # nobody has given a name yet
    told |= {"rater": rater.name, "level": rater.level}
    return told


def notes_of(desk: Desk, language: Language) -> list[str]:
    """What an owner should know of the folders."""
    unread = sorted(set(open_pool(desk.config, desk.store).unread))
    return [say(WORDS, "rate.unread", language, option=option) for option in unread]


def next_view(desk: Desk, account: Account, *, mode: str = "one", rater: str = "", level: str = "") -> dict[str, Any]:
    """What this person is to rate next, as a page or a script is told it."""
    who = rater_of(desk.store, account, text_within(rater, 200, "The name"), text_within(level, 20, "The level"))
    pool = open_pool(desk.config, desk.store)
    turn = next_turn(desk.store, pool, who, mode, real_share=desk.config.real_share)
    return _view(desk, pool, who, mode, turn)


def answer_view(desk: Desk, account: Account, *, ticket: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what is said of a ticket, and tell what is next."""
    key = rater_key_of(desk.store, account, text_within(ticket, 100, "The ticket"))
    who = rater_of(desk.store, account, "" if key == account.name else key.removeprefix(f"{LOCAL}:"))
    mode = find_turn(desk.store, key, ticket).mode
    answer(desk.store, key, ticket, said, who.level)
    return next_view(desk, account, mode=mode, rater=who.name)


def back_view(desk: Desk, account: Account, *, ticket: str = "", rater: str = "") -> dict[str, Any]:
    """Withdraw an answer, the last one where no ticket is named, and tell what was asked."""
    ticket, rater = text_within(ticket, 100, "The ticket"), text_within(rater, 200, "The name")
    key = rater_key_of(desk.store, account, ticket) if ticket else rater_of(desk.store, account, rater).key
    turn = find_turn(desk.store, key, go_back(desk.store, key, ticket))
    who = rater_of(desk.store, account, "" if key == account.name else key.removeprefix(f"{LOCAL}:"))
    return _view(desk, open_pool(desk.config, desk.store), who, turn.mode, turn)


def ticket_png(desk: Desk, account: Account, ticket: str, place: int) -> bytes:
    """The picture of a ticket, of a pair's the first (0) or second (1). ValueError where it is another's, or gone."""
    turn = find_turn(desk.store, rater_key_of(desk.store, account, ticket), ticket)
    if place >= len(turn.sha256):
        raise Refusal("This ticket has one picture; reload the page", "该评分编号只有一幅图像；请重新载入页面")
    picture = open_pool(desk.config, desk.store).find(turn.sha256[place])
    if picture is None:
        raise Refusal("This picture was taken away; reload the page", "该图像已被移除；请重新载入页面")
    return picture_png(picture, turn.size)


def agreement_view(desk: Desk, account: Account, language: Language, *, rater: str = "") -> dict[str, Any]:
    """How raters agree, in words and numbers: to an owner all, to others their own repeats."""
    own = None if account.role == "owner" else rater_of(desk.store, account, rater).name
    facts = agreement_of(desk.store.ratings.read(), own=own)
    return {"lines": agreement_lines(facts, language, own=own), "facts": facts}


def put_view(desk: Desk, account: Account) -> list[dict[str, Any]]:
    """A teacher's newest pictures, and whether raters may see each."""
    _no_rater(account)
    on = pictures_put(desk.store, account.name)
    return [
        {"id": p.id, "text": shortened(p.sample.text, 160), "on": p.id in on}
        for p in pictures_of(desk.store, account.name, most=MOST_PUT)
    ]


def put(desk: Desk, account: Account, pictures: list[str], on: bool) -> int:
    """Let raters see some pictures of a teacher's, or no longer; returns how many they may see."""
    _no_rater(account)
    if not isinstance(pictures, list) or not 1 <= len(pictures) <= 200:
        raise Refusal("Name 1 to 200 pictures by their ids", "请用编号指定 1 至 200 幅图像")
    return put_to_rating(desk.store, account.name, [text_within(p, 100, "The id") for p in pictures], bool(on))


def _no_rater(account: Account) -> None:
    if account.role == "rater":
        raise Refusal.of(RATER)


def _view(desk: Desk, pool: Pool, rater: Rater, mode: str, turn: Turn | None) -> dict[str, Any]:
    told: dict[str, Any] = {"mode": mode, "rater": rater.name}
    told |= progress(desk.store, pool, rater, mode, desk.config.real_share)
    if turn is None:
        empty = not pool.synthetic if mode == "one" else not pool.groups
        why = "all_done" if not empty else "nothing" if mode == "one" else "no_pairs"
        return {**told, "ticket": None, "why": why}
    names = [turn.ticket] if mode == "one" else [f"{turn.ticket}.1", f"{turn.ticket}.2"]
    return {
        **told, "ticket": turn.ticket, "pictures": [f"/rate/{name}.png" for name in names], "text": turn.text,
        "said": dict(turn.said),
    }  # fmt: skip

"""Whatever a loop says of itself has its Chinese: gates, rules, facts, strata, decisions, tables and the whole page."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from vesalius.data.record import Finding, write_json
from vesalius.demo import DemoConfig
from vesalius.demo.loop.chinese import gate, stratum, table, told
from vesalius.demo.loop.page import page_of
from vesalius.demo.page import Desk, Model
from vesalius.demo.store.accounts import Account
from vesalius.demo.store.schema import Store
from vesalius.eval.gates import gates
from vesalius.eval.gates.gates import RULES, Limit, objection
from vesalius.eval.report import Table
from vesalius.improve.asking.hard import WAYS
from vesalius.improve.asking.strata import pooled, strata
from vesalius.improve.candidates.empty import REMEDIES
from vesalius.improve.candidates.selection import skipped_strata
from vesalius.improve.deciding import guard, measures
from vesalius.improve.deciding.facts import Fact, Facts
from vesalius.improve.deciding.promotion import NEEDED, compare, finished
from vesalius.improve.telling.status import STEPS

KNOWN = re.compile(
    r"(?<![A-Za-z])(CT|MRI|HU|KID|Fréchet|AUROC|STORE|LOOP|RECIPE\.toml|review\.csv)(?![A-Za-z])"
    r"|images/[\w.-]+|--[\w-]+|vesalius improve \w+"
)
"""Codes, names of files, flags and commands, which are the same in every language."""


def english_in(text: str) -> list[str]:
    """Words of a text that are neither Chinese nor the same in every language."""
    return re.findall(r"[A-Za-z]{2,}", KNOWN.sub(" ", text))


def test_every_gate_and_every_rule_has_its_chinese() -> None:
    assert not [name for name in (*gates.GATES, *REMEDIES, "best", "accepted") if gate(name) == name]
    wrong = []
    for name, rule in RULES.items():
        limits = {name: Limit(least=0.5, most=0.6, num=100, refused=0.01)}
        about = f"{name} CT/nodule" if name in gates.GROUPS else name
        ends = [*([0.1] if rule.low else []), *([5.0] if rule.high else [])]
        said = [objection(about, value, limits, "CT") for value in ends]
        wrong += [each for each in said if each and english_in(told(each))]
    assert not wrong


def fact(name: str, words: str, group: str, value: float, **more: object) -> Fact:
    return Fact(
        name=name, told=words, group=group, value=value, low=value - 0.01, high=value + 0.01, num=300,  # type: ignore[arg-type]
        **{"up": True, "share": True, **more},  # type: ignore[arg-type]
    )  # fmt: skip


def facts_of(obeyed: float, liked: float) -> Facts:
    """A round in which every fact there can be was measured."""
    asked = [f"{words}, by the {network}" for words in measures.TOLD.values() for network in ("reader", "witness")]
    hard = (
        "Hard prompts: what they ask for is so, by the reader",
        "Hard prompts of which everything is so, by the reader",
    )
    parts = [f"Hard prompts: {words[0].lower()}{words[1:]}" for words in measures.TOLD.values()]
    ways = [f"Hard prompts ({way}): what they ask for is so" for way in WAYS]
    whole = (
        "All that prompts ask for is so, all questions together",
        "The stratum that is obeyed least (MRI: mass under 20 mm, right)",
        "Kinds of real pathology that samples reach (coverage, by the witness)",
        "Kinds of real images that samples reach (coverage, by the witness)",
        "Samples nearer to a training image than unseen real images are (possible copies)",
        "What accepted samples add to a classifier of finding:nodule (AUROC, over real images alone)",
        "What accepted samples add to a classifier of label (AUROC, over real images alone)",
    )
    shown = [fact(w, w, "obedience", obeyed, decides="Hard" not in w) for w in (*asked, *hard, *parts, *ways, *whole)]
    numbers = [
        fact("kid", "Distance of CT, greyscale to real images (KID, by the witness)", "distance", 0.3, share=False),
        fact("fd", "Distance of CT to real images (Fréchet, by the witness)", "distance", 0.3, share=False),
        fact("gates", "Agreement with the prompt, by the network of the gates", "gates", liked, decides=False),
    ]
    return Facts(paired="x", facts=(*shown, *numbers))


def test_decisions_facts_and_alarms_are_told_in_chinese() -> None:
    first, lower, higher = facts_of(0.8, 0.5), facts_of(0.6, 0.9), facts_of(0.95, 0.5)
    for now in (lower, higher, first, Facts(paired="x", facts=first.facts[:1])):
        decision = compare(first, first, now, 2)
        said = [*decision["reasons"], *(row["words"] for row in decision["rows"]), *decision["gains"]]
        assert not [each for each in said if english_in(told(each))]
    creeping = guard.told(
        first.facts[-1], first.facts[-1], first.facts[0], first.facts[0], " over three rounds, a little each time"
    )
    assert not english_in(told(f"ALARM: {creeping}"))
    assert told(decision["reasons"][0]).endswith("：本轮未测量")
    assert not [each for each in NEEDED.values() if english_in(told(each))]
    lost = [{"round": i, "promoted": False} for i in (1, 2)]
    assert [told(finished(lost, patience) or "") for patience in (1, 2)] == [
        "连续 1 轮没有改进：循环结束", "连续 2 轮没有改进：循环结束",
    ]  # fmt: skip
    for _, doing in (*STEPS, ("", "begins")):
        assert not english_in(told(f"round 3: {doing}"))


def test_strata_are_told_by_modality_kinds_size_number_and_side() -> None:
    def named(*findings: Finding) -> str:
        return stratum(strata("CT", findings)[0])

    small = Finding(kind="nodule", side="left", size_mm=9.0)
    assert named(small) == "CT：肺结节，小于 20 毫米，左侧"
    assert named(Finding(kind="nodule", size_mm=30.0)) == "CT：肺结节，20 毫米及以上"
    assert named(Finding(kind="nodule", count=3)) == "CT：肺结节，多个"
    assert named(small, Finding(kind="consolidation"), Finding(kind="pneumothorax")) == "CT：实变、肺结节、气胸"
    assert stratum(strata("pathology", [Finding(kind="gland", present=False)])[0]) == "病理：正常"
    assert [stratum(s) for s in ("MRI: not told", "MRI: over three findings", "MRI: two findings, other", "X-ray")] == [
        "MRI：未说明", "MRI：三种以上病变", "MRI：两种病变，其余", "X线",
    ]  # fmt: skip
    assert stratum(pooled({"CT: nodule, left": 1, "CT: nodule, right": 1}, 4)["CT: nodule, left"]) == "CT，其余"
    assert stratum("CT: zyxoma, left") == "CT：zyxoma，左侧"


def test_tables_are_told_by_column_and_what_nobody_knows_stays() -> None:
    why = skipped_strata({"CT: nodule": 10}, {"CT: nodule": 0}, 0.5)["CT: nodule"]
    shown = table(
        Table(
            head=("stratum that was skipped", "why"), rows=[["CT: nodule", why]], folded="Strata that were skipped: 1"
        )
    )
    assert (shown.folded, list(shown.head), shown.rows[0][0]) == (
        "跳过的分层：1 个",
        ["跳过的分层", "原因"],
        "CT：肺结节",
    )
    assert not english_in(shown.rows[0][1])
    assert told("no sentence of this house, 3 of 4") == "no sentence of this house, 3 of 4"
    approved = told("Approved by better; 2 samples kept out (the data alone).")
    assert approved == "已批准（better）；排除 2 个样本（the data alone）。"


def few(facts: Facts) -> Facts:
    """One in six of them, with a distance and the gates, for each has its curve."""
    return Facts(paired=facts.paired, facts=(*facts.facts[:-2:6], *facts.facts[-2:]))


@pytest.fixture
def ended(judged_loop: Callable[..., Path]) -> Path:
    """A loop of two rounds, which was rolled back twice: every kind of refusal, skipped strata, an alarm, a review."""
    out = judged_loop(2, patience=2)
    first = few(facts_of(0.8, 0.5))
    first.write(out / "round-00")
    limit = "(0.1; 95 % or more of real CT images have 0.5 or more)"
    reasons = (
        f"findings: a finding asked for is not seen: nodule {limit}", "best: another sample of its prompt is better",
        "quota: 50% of each stratum's prompts are kept, and CT: nodule, several has them", "veto: a person refused it",
        "stratum: CT: nodule is skipped in this round, 0 of 9 of its prompts were answered by a sample that passed; "
        "37% are needed, 74% are usual",
        "duplicate: a near-duplicate of images/00001-0001.png (distance 0.021)",
        "readable: was changed since it was drawn",
        "depth: generation 3 is over 2", f"copy: lies nearer to a training image {limit}",
    )  # fmt: skip
    for index in (1, 2):
        folder = out / f"round-{index:02d}"
        rows = [json.loads(line) for line in (folder / "verdicts.jsonl").read_text().splitlines()]
        refused = [row for row in rows if row["reason"] is not None]
        for row, reason in zip(refused, reasons, strict=False):
            row["reason"] = reason
        (folder / "verdicts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        asked = {"asked": 4, "passed": 2, "answered": 2, "kept": 0, "members": []}
        write_json(
            folder / "selection.json",
            {
                "strata": {"CT: nodule, several": asked},
                "skipped": {
                    "CT: nodule": (
                        "0 of 9 of its prompts were answered by a sample that passed; 37% are needed, 74% are usual"
                    )
                },
            },
        )
        write_json(folder / "review.json", {"round": index, "vetoes": {}, "by": None, "reason": None})
        now = few(facts_of(0.6, 0.9))
        now.write(folder)
        write_json(folder / "decision.json", compare(first, first, now, index))
    return out


def test_the_page_of_a_finished_loop_holds_no_english_but_codes(ended: Path, tmp_path: Path) -> None:
    config = DemoConfig(store=tmp_path / "store", loop=(ended,))
    model = Model(base="tiny", base_digest="", adapter_digest=None, image_size=32, steps=1, guidance=1.0)
    desk = Desk(config=config, store=Store(config.store), model=model, support=None)
    page = page_of(desk, Account(name="o", role="owner"), "zh")["html"]
    assert page.count('class="loop-round"') == 3
    assert page.count('class="loop-curve"') > 3
    drawn = [base64.b64decode(each).decode() for each in re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", page)]
    written = [words for each in drawn for words in re.findall(r"<text[^>]*>([^<]*)</text>", each)]
    assert "轮次" in written
    assert not [words for words in written if english_in(words)]
    page = re.sub(r"Chest CT with \w+ nodules\.", "", page)  # a prompt stays as it was written
    page = re.sub(r"data:image/svg[^\"]*|class=\"[^\"]*\"|<pre[^>]*>[^<]*</pre>|>loop<|label=\"loop\"", "", page)
    texts = [*re.findall(r">([^<]+)<", page), *re.findall(r'(?:alt|aria-label|placeholder|title)="([^"]*)"', page)]
    found = {word for text in texts for word in english_in(html.unescape(text))}
    assert not found

"""What a report says is read as a radiologist would: present, denied, open; left, right; how large and how many."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vesalius.data.building.config import BuildConfig
from vesalius.data.building.run import build_dataset
from vesalius.data.findings.en import ENGLISH
from vesalius.data.findings.read import LANGUAGES, Mention, as_findings, findings_in, left_open
from vesalius.data.findings.words import UNSIDED, Words
from vesalius.data.findings.zh import CHINESE
from vesalius.data.phantoms.phantom import KINDS
from vesalius.data.record import Finding, load_records
from vesalius.data.texts.prompt import is_chinese, swap_sides

STATUS = {"+": "present", "-": "absent", "?": "uncertain"}
SIGN = {status: sign for sign, status in STATUS.items()}
_EXPECTED = re.compile(
    r"([-+?])(.+?)(?: (left|right|bilateral))?(?: ([\d.]+)mm)?(?: x(\d+|\*))?"
)  # status, kind, side, size, count


def table(name: str = "findings_sentences.tsv") -> list[tuple[str, list[str]]]:
    """Sentences, and what a reader finds in them: "+nodule right 12mm x2; -pleural effusion"."""
    with (Path(__file__).parent / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [(text.replace("\\n", "\n"), [e for e in expected.split("; ") if e]) for text, expected in rows]


def told(mention: Mention, *, measures: bool) -> str:
    side = f" {mention.side}" if mention.side else ""
    size = f" {mention.size_mm:g}mm" if mention.size_mm and measures else ""
    count = "" if mention.count == 1 or not measures else f" x{mention.count or '*'}"
    return f"{SIGN[mention.status]}{mention.kind}{side}{size}{count}"


def without_measures(expected: str) -> str:
    match = _EXPECTED.fullmatch(expected)
    assert match, expected
    return f"{match[1]}{match[2]}{f' {match[3]}' if match[3] else ''}"


def score(rows: list[tuple[str, list[str]]], *, measures: bool) -> tuple[float, list[str]]:
    """The share of mentions that are right, of those expected and those read too much; and what is wrong."""
    right, total, wrong = 0, 0, []
    for text, expected in rows:
        want = Counter(expected if measures else map(without_measures, expected))
        got = Counter(told(m, measures=measures) for m in findings_in(text))
        right += (want & got).total()
        total += (want | got).total()
        if want != got:
            wrong.append(f"{text!r}: expected {sorted(want.elements())}, got {sorted(got.elements())}")
    return right / total, wrong


@pytest.mark.parametrize(("chinese", "least"), [(False, 120), (True, 80)], ids=["English", "Chinese"])
@pytest.mark.parametrize("measures", [False, True], ids=["status and side", "size and count too"])
def test_of_all_mentions_95_percent_are_read_right(chinese: bool, least: int, measures: bool) -> None:
    rows = [row for row in table() if is_chinese(row[0]) == chinese]
    assert len(rows) >= least
    share, wrong = score(rows, measures=measures)
    print(f"{share:.1%} of the mentions in {len(rows)} sentences", *wrong, sep="\n")
    assert share >= 0.95, "\n".join(wrong)


ASIDES = {"en": "The trachea is central. ", "zh": "气管居中。"}
# Abbreviations, and lobes that one lung alone has, name a side without the word for it.
_OTHER_SIDES = re.compile(r"\b[RL][UML]L\b|lingula|middle lobe|中叶|舌", re.IGNORECASE)
sentences = st.sampled_from(table())
NAMES = [
    *(("en", kind, n) for kind, ns in ENGLISH.kinds.items() for n in (kind, *ns)),
    *(("zh", kind, n) for kind, ns in CHINESE.kinds.items() for n in ns),
]
SIMPLE = {
    "en": ("The study shows {} on the left.", "The study shows no {} on the left.", "Possible {} on the left."),
    "zh": ("左侧可见{}。", "左侧未见{}。", "左侧可疑{}。"),
}


@given(sentences, st.sampled_from(sorted(ASIDES)))
def test_an_unrelated_sentence_before_changes_nothing(row: tuple[str, list[str]], language: str) -> None:
    aside = ASIDES[language]
    if not (text := row[0]).lstrip("【1").startswith(("检", "临", "病", "INDICATION", "History", "CLINICAL")):
        moved = [
            (m.kind, m.status, m.side, m.size_mm, m.count, m.start - len(aside)) for m in findings_in(aside + text)
        ]
        assert moved == [(m.kind, m.status, m.side, m.size_mm, m.count, m.start) for m in findings_in(text)]


@given(sentences)
def test_left_and_right_exchanged_in_the_text_are_exchanged_in_the_findings(row: tuple[str, list[str]]) -> None:
    swapped = swap_sides(row[0])
    if swapped is not None and not _OTHER_SIDES.search(row[0]):
        other = {"left": "right", "right": "left"}
        want = [(m.kind, other.get(m.side or "", m.side)) for m in findings_in(row[0])]
        assert [(m.kind, m.side) for m in findings_in(swapped)] == want


def test_a_simple_sentence_negated_turns_present_to_absent_and_doubted_to_uncertain() -> None:
    for language, kind, word in NAMES:
        own_side = "向" in word  # 中线向右移位 says its side itself
        for sentence, status in zip(SIMPLE[language], ("present", "absent", "uncertain"), strict=True):
            read = [(m.kind, m.status, m.side) for m in findings_in(sentence.format(word))]
            side = read[0][2] if read and (kind in UNSIDED or own_side) else "left"
            assert read == [(kind, status, side)], (word, status)


@given(
    st.lists(
        st.sampled_from([*"，。、：左右双12,.:;?()[] \n", *SIMPLE["en"], *SIMPLE["zh"], "no ", "2 x 3 cm", "mass "])
    )
)
def test_no_text_breaks_the_reader_and_spans_lie_in_the_text_in_order(parts: list[str]) -> None:
    text = "".join(parts)
    found = findings_in(text)
    assert all(0 <= m.start < m.end <= len(text) for m in found)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))


def test_spans_are_the_words_that_were_read() -> None:
    text = "INDICATION: mass. FINDINGS: No pleural effusion."
    (mention,) = findings_in(text)
    assert text[mention.start : mention.end] == "pleural effusion"


@pytest.mark.parametrize("unit", ["No nodule in the left lung. ", "nodule 5 mm, left ", "双肺未见结节，", "1"])
def test_time_is_linear_in_the_text(unit: str) -> None:
    def seconds(letters: int) -> float:
        text = unit * (letters // len(unit))
        began = time.process_time()
        findings_in(text)
        return time.process_time() - began

    findings_in("")
    short, long = min(seconds(20_000) for _ in range(2)), seconds(200_000)
    assert long < 30 * short + 0.2, f"{short:.3f} s for 20,000 letters, {long:.2f} s for 200,000"


def test_a_record_holds_no_doubt_and_denies_nothing_that_is_there() -> None:
    read = findings_in(
        "Two left nodules, up to 9 mm. The nodules are stable. No other nodules. Possible pneumonia. No mass."
    )
    assert as_findings(read) == (
        Finding(kind="nodule", side="left", size_mm=9, count=2),
        Finding(kind="mass", present=False),
    )
    assert [m.kind for m in read if m.status == "uncertain"] == ["pneumonia"]


def test_several_without_a_number_are_counted_as_one() -> None:
    (mention,) = findings_in("Multiple nodules.")
    assert mention.count is None
    assert as_findings([mention]) == (Finding(kind="nodule"),)


@pytest.mark.parametrize("words", LANGUAGES, ids=["English", "Chinese"])
def test_no_name_stands_for_two_kinds(words: Words) -> None:
    named = Counter(name for kind, others in words.kinds.items() for name in {kind, *others})
    assert [name for name, count in named.items() if count > 1] == []


def test_both_languages_name_the_same_kinds_and_all_that_phantoms_show() -> None:
    assert set(CHINESE.kinds) <= set(ENGLISH.kinds)
    assert {kind for kinds in KINDS.values() for kind in kinds} <= set(CHINESE.kinds)
    assert set(ENGLISH.kinds) >= UNSIDED


def test_build_reads_findings_only_where_asked_and_only_of_rows_that_list_none(tmp_path: Path) -> None:
    listed = [{"kind": "mass", "present": True}]
    rows = [{"text": "No mass. Left effusion."}, {"text": "Possible mass."}, {"text": "No mass.", "findings": listed}]
    (tmp_path / "in").mkdir()
    for i, row in enumerate(rows):
        Image.linear_gradient("L").resize((16, 16 + i)).save(tmp_path / "in" / f"{i}.png")
        row |= {"file_name": f"{i}.png", "modality": "CT", "patient_id": str(i), "split": "train"}
    (tmp_path / "in" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    mass = Finding(kind="mass")
    effusion, no_mass = Finding(kind="pleural effusion", side="left"), Finding(kind="mass", present=False)
    for asked, want in ((False, [(), (), (mass,)]), (True, [(effusion, no_mass), (), (mass,)])):
        out = tmp_path / f"out-{asked}"
        build_dataset(BuildConfig(sources=(tmp_path / "in",), out=out, json=True, read_findings=asked))
        assert [r.findings for r in sorted(load_records(out), key=lambda r: str(r.patient_id))] == want


@pytest.mark.parametrize(
    ("text", "possible", "sure"),
    [
        ("Possible pneumonia. A mass cannot be excluded. Left effusion.", ("pneumonia", "mass"), ("pleural effusion",)),
        ("Possible nodule in the left lung. The nodule is 8 mm. There is a nodule on the right.", (), ("nodule",)),
        ("No pneumonia. Normal chest.", (), ("pneumonia",)),
        ("右肺斑片影，肺炎可能。左侧气胸待排。", ("pneumonia", "pneumothorax"), ("opacity",)),
        ("左肺上叶结节，肺癌不能除外。", ("lung cancer",), ("nodule",)), ("双肺未见异常。", (), ()),
    ],
)  # fmt: skip
def test_what_a_report_leaves_open_is_told_apart(text: str, possible: tuple[str, ...], sure: tuple[str, ...]) -> None:
    mentions = findings_in(text)
    assert left_open(mentions) == possible
    assert tuple(f.kind for f in as_findings(mentions)) == sure


@pytest.mark.parametrize(
    "texts",
    [
        ("Possible pneumonia, effusion cannot be excluded.", "Possible pneumonia.", "Left effusion."),
        ("肺炎可能，胸腔积液待排。", "肺炎不能除外。", "左侧胸腔积液。"),
    ],
    ids=["English", "Chinese"],
)
def test_build_lists_and_counts_what_texts_leave_open(tmp_path: Path, texts: tuple[str, ...]) -> None:
    import datasets

    (tmp_path / "in").mkdir()
    lines = []
    for i, (text, split) in enumerate(zip(texts, ("train", "train", "val"), strict=True)):
        Image.linear_gradient("L").resize((16, 16 + i)).save(tmp_path / "in" / f"{i}.png")
        lines.append(json.dumps({"file_name": f"{i}.png", "text": text, "modality": "X-ray", "split": split}) + "\n")
    (tmp_path / "in" / "metadata.jsonl").write_text("".join(lines))
    config = BuildConfig(sources=(tmp_path / "in",), out=tmp_path / "out", json=True, read_findings=True)
    summaries = [build_dataset(dataclasses.replace(config, dry_run=True)), build_dataset(config), build_dataset(config)]
    assert [s.uncertain for s in summaries] == [{"pneumonia": 2, "pleural effusion": 1}] * 3
    note = (
        "left open by the texts, so in the column `uncertain` and not among the findings: "
        "2 pneumonia, 1 pleural effusion"
    )
    assert all(note in s.notes for s in summaries)
    assert note in (tmp_path / "out" / "README.md").read_text()
    found = {r.text: (json.loads(r.extra["uncertain"]), r.findings) for r in load_records(tmp_path / "out")}
    effusion = Finding(kind="pleural effusion", side="left")
    wanted = ((["pneumonia", "pleural effusion"], ()), (["pneumonia"], ()), ([], (effusion,)))
    assert found == dict(zip(texts, wanted, strict=True))
    opened = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert all("uncertain" in opened[split].column_names for split in ("train", "validation"))

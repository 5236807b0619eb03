"""Readers' answers: what is refused, and numbers that are known beforehand."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from vesalius.cli.main import DONE, USAGE, main
from vesalius.data.images.image import write_png
from vesalius.data.record import digest_file, write_json
from vesalius.eval.readers.answers import FIELDS, Answer, checksum, gather, read_answers
from vesalius.eval.readers.config import ReadersScoreConfig
from vesalius.eval.readers.report import score_study
from vesalius.eval.readers.scores import (
    DRAWS,
    cohen_kappa,
    d_prime,
    fleiss_kappa,
    kappa_with_interval,
    score_all,
    score_reader,
    verdict,
)
from vesalius.eval.readers.study import FORMAT, Shown, read_key, shown_of

NUM, REPEATS = 20, 4


def answer_row(answer: Answer) -> dict[str, Any]:
    """The line that the page writes, which has no .0 behind whole seconds."""
    row = {name: getattr(answer, name) for name in FIELDS}
    row["seconds"] = int(answer.seconds) if answer.seconds == int(answer.seconds) else answer.seconds
    return {**row, "check": checksum(row)}


def item(place: int) -> Shown:
    """Item `place`, from 1: odd ones real; the last REPEATS come again."""
    first = place if place <= NUM else place - NUM
    synthetic = first % 2 == 0
    return Shown(
        item=f"{place:03d}", picture=f"picture-{first}", sha256=f"sha-{first}",
        origin="synthetic" if synthetic else "real", modality="CT" if first <= NUM // 2 else "MRI", label="",
        text=f"text {first}", file="", repeat_of=f"{first:03d}" if place > NUM else "",
    )  # fmt: skip


SHOWN = {s.item: s for s in map(item, range(1, NUM + REPEATS + 1))}


def said(reader: str, each: Shown, *, right: bool = True, confidence: int = 5, realism: int = 3) -> Answer:
    truth = "synthetic" if each.is_synthetic else "real"
    other = "real" if each.is_synthetic else "synthetic"
    return Answer(
        study="abc", item=each.item, picture=each.picture, reader=reader, answer=truth if right else other,
        confidence=confidence, realism=realism, agreement=4, artefact="none", seconds=2.5, time="2026-01-01T00:00:00Z",
    )  # fmt: skip


def all_of(reader: str, right: list[bool] | bool = True, **more: int) -> dict[str, Answer]:
    rights = [right] * len(SHOWN) if isinstance(right, bool) else right
    return {s.item: said(reader, s, right=r, **more) for s, r in zip(SHOWN.values(), rights, strict=True)}


def write(path: Path, answers: dict[str, Answer]) -> Path:
    path.write_text("".join(json.dumps(answer_row(a), ensure_ascii=False) + "\n" for a in answers.values()), "utf-8")
    return path


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    (folder / "page").mkdir(parents=True)
    (folder / "pictures").mkdir()
    page = folder / "page" / "index.html"
    page.write_text("page")
    for each in SHOWN.values():
        write_png(folder / "pictures" / f"{each.item}.png", np.zeros((8, 8, 1), np.uint8))
    items = [dataclasses.asdict(s) for s in SHOWN.values()]
    key = {
        "format": FORMAT,
        "study": "abc",
        "title": "T",
        "page_sha256": digest_file(page),
        "notes": [],
        "items": items,
    }
    write_json(folder / "key.json", key)
    return folder


def test_the_checksum_is_that_of_the_page() -> None:
    """A line that the page itself wrote, in Chromium."""
    row = {
        "format": "vesalius-readers-1", "study": "59ee994336e2", "item": "001",
        "picture": "864a42ddf4f1fa2256ffc025a9d7b6c02ecebfc17918e3fbc10cdb294d9276b8", "reader": 'Dr Müller, "A"',
        "answer": "synthetic", "confidence": 1, "realism": 2, "agreement": 5, "artefact": "minor",
        "comment": 'odd, "vessel" 血管', "seconds": 0, "time": "2026-11-27T17:27:49.769Z",
    }  # fmt: skip
    assert checksum(row) == "366936cb"


def test_answers_as_lines_and_as_a_table_are_the_same(tmp_path: Path) -> None:
    answers = {i: dataclasses.replace(a, comment='a, "b" 血管') for i, a in all_of("Müller").items()}
    lines = write(tmp_path / "a.jsonl", answers)
    table = tmp_path / "a.csv"
    with table.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, [*FIELDS, "check"])
        writer.writeheader()
        writer.writerows(answer_row(a) for a in answers.values())
    assert [a for _, a in read_answers(lines)] == [a for _, a in read_answers(table)] == list(answers.values())


def test_each_fault_is_told_by_its_line(tmp_path: Path) -> None:
    good = all_of("A")
    first = next(iter(good.values()))
    for change, words in (
        ({"study": "xyz"}, "a.jsonl:1: is of study xyz, and the key is that of abc"),
        ({"item": "999"}, "a.jsonl:1: item '999' is not in study abc"),
        ({"picture": "other"}, "a.jsonl:1: was given to another picture than item 001"),
    ):
        path = write(tmp_path / "a.jsonl", {**good, first.item: dataclasses.replace(first, **change)})
        with pytest.raises(ValueError, match=words):
            gather([path], "abc", SHOWN)
    path = write(tmp_path / "a.jsonl", good)
    for before, after, words in (
        ('"confidence": 5', '"confidence": 4', "was changed after it was saved"),
        ('"confidence": 5', '"confidence": 6', "confidence '6' is not 1 to 5"),
        ('"artefact": "none"', '"artefact": "odd"', "artefact 'odd' is not one of none, minor, major"),
        ('"reader": "A"', '"reader": ""', "lacks reader"),
        (FORMAT, "else", "no answer of a reader study"),
        ("{", "[", "not JSON"),
    ):
        broken = tmp_path / "b.jsonl"
        broken.write_text(path.read_text().replace(before, after, 1))
        with pytest.raises(ValueError, match=f"b.jsonl:1: .*{words}"):
            gather([broken], "abc", SHOWN)


def test_duplicates_and_missing_answers_are_told(tmp_path: Path) -> None:
    good = write(tmp_path / "a.jsonl", all_of("A"))
    with pytest.raises(ValueError, match=r"again.jsonl:1: reader 'A' has answered item 001 in .*a.jsonl:1 already"):
        gather([good, Path(shutil.copy(good, tmp_path / "again.jsonl"))], "abc", SHOWN)
    with pytest.raises(ValueError, match=r"a.jsonl:1: .* already; give each file once"):
        gather([good, good], "abc", SHOWN)
    other = write(tmp_path / "other.jsonl", all_of("A", False))
    with pytest.raises(ValueError, match=r"two readers, one of them has to answer under a name of his own"):
        gather([good, other], "abc", SHOWN)
    some = write(tmp_path / "some.jsonl", dict(list(all_of("B").items())[:20]))
    with pytest.raises(ValueError, match=r"reader 'B' answered 20 of 24 items \(021, 022, 023, 024 lack\)"):
        gather([good, some], "abc", SHOWN)
    assert len(gather([good, some], "abc", SHOWN, partial=True)["B"]) == 20
    names = {i: dataclasses.replace(a, seconds=float("nan")) for i, a in all_of("C").items()}
    rows = [{**(row := dataclasses.asdict(a)), "check": checksum(row)} for a in names.values()]
    (tmp_path / "nan.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match=r"nan\.jsonl:1: seconds 'nan' is no number of seconds"):
        gather([tmp_path / "nan.jsonl"], "abc", SHOWN)
    (tmp_path / "half.jsonl").write_text(good.read_text().replace('"comment": ""', '"comment": "\\ud800"', 1))
    with pytest.raises(ValueError, match=r"half\.jsonl:1: holds characters that are not Unicode"):
        gather([tmp_path / "half.jsonl"], "abc", SHOWN)
    (tmp_path / "long.csv").write_text(f'format,study\n"{"x" * 3_000_000}",abc\n')
    with pytest.raises(ValueError, match=r"long\.csv:2: not CSV"):
        gather([tmp_path / "long.csv"], "abc", SHOWN)
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(ValueError, match="holds no answer"):
        gather([tmp_path / "none.jsonl"], "abc", SHOWN)
    with pytest.raises(ValueError, match="no answers given"):
        gather([], "abc", SHOWN)


def test_fleiss_kappa_of_the_published_example() -> None:
    """Ten subjects, five categories, fourteen raters: 0.210 (the worked example of Wikipedia, "Fleiss' kappa")."""
    counts = np.array(
        [
            [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1], [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
        ]
    )  # fmt: skip
    assert fleiss_kappa(counts) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_kappa_of_two_raters_is_scotts_pi_and_has_its_limits() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, 50), rng.integers(0, 2, 50)
    counts = np.stack([(a == k).astype(int) + (b == k) for k in (0, 1)], axis=1)
    agreed, share = (a == b).mean(), np.concatenate([a, b]).mean()
    chance = share**2 + (1 - share) ** 2
    assert fleiss_kappa(counts) == pytest.approx((agreed - chance) / (1 - chance))
    assert fleiss_kappa(np.array([[3, 0], [0, 3]])) == 1
    assert fleiss_kappa(np.array([[3, 0], [3, 0]])) is None
    with pytest.raises(ValueError, match="same number of raters"):
        fleiss_kappa(np.array([[3, 0], [1, 1]]))


def test_cohens_kappa_is_scikit_learns_and_none_where_undefined() -> None:
    first, second = [1, 2, 3, 4, 5, 5], [1, 3, 3, 2, 5, 4]
    assert cohen_kappa(first, second, ordered=True) == cohen_kappa_score(first, second, weights="quadratic")
    assert cohen_kappa(["real"] * 5, ["real"] * 5) is None
    assert kappa_with_interval(["real"] * 5, ["real"] * 5) is None


def test_a_step_of_the_scale_that_nobody_used_still_counts() -> None:
    first, second = np.array([1, 1, 5, 5, 4]), np.array([1, 5, 5, 4, 4])
    apart = (first[:, None] - second[None]) ** 2
    assert cohen_kappa(first.tolist(), second.tolist(), ordered=True) == pytest.approx(
        1 - ((first - second) ** 2).mean() / apart.mean()
    )


@pytest.mark.parametrize("ordered", [False, True])
def test_the_interval_of_a_kappa_is_that_of_scikit_learns_draws(ordered: bool) -> None:
    rng = np.random.default_rng(3)
    first = rng.choice([1, 2, 4, 5], 30)
    second = np.where(rng.random(30) < 0.5, first, rng.choice([1, 2, 4, 5], 30))
    row = kappa_with_interval(first.tolist(), second.tolist(), ordered=ordered, seed=7)
    draws = np.random.default_rng(7)
    more = {"weights": "quadratic", "labels": [1, 2, 3, 4, 5]} if ordered else {}
    drawn = [
        cohen_kappa_score(first[at], second[at], **more) for at in (draws.integers(0, 30, 30) for _ in range(DRAWS))
    ]
    assert row is not None
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.percentile(drawn, (2.5, 97.5))))
    assert row["low"] < row["value"] < row["high"]


def test_d_prime_of_chance_is_zero_and_of_perfection_is_finite() -> None:
    assert d_prime(5, 10, 5, 10) == pytest.approx(0)
    assert 2 < d_prime(10, 10, 0, 10) < 5
    with pytest.raises(ValueError, match="both kinds"):
        d_prime(1, 2, 0, 0)


def test_one_who_always_says_real_is_specific_and_not_sensitive() -> None:
    row = score_reader({i: dataclasses.replace(a, answer="real") for i, a in all_of("A").items()}, SHOWN)
    assert (row["accuracy"]["value"], row["sensitivity"]["value"], row["specificity"]["value"]) == (0.5, 0, 1)
    assert row["d_prime"] == pytest.approx(0)
    assert row["accuracy"]["low"] < 0.5 < row["accuracy"]["high"]
    assert row["repeats"]["same"]["value"] == 1
    assert row["repeats"]["kappa"] is None


def test_repeats_count_for_the_agreement_with_himself_alone() -> None:
    row = score_reader(all_of("A", [True] * NUM + [False] * REPEATS), SHOWN)
    assert (row["num"], row["accuracy"]["value"]) == (NUM, 1)
    assert row["repeats"]["same"]["value"] == 0
    assert row["repeats"]["kappa"]["value"] == -1


def test_who_is_sure_and_wrong_is_overconfident() -> None:
    wrong = score_reader(all_of("A", False, confidence=5), SHOWN)["calibration"]
    assert (wrong["overconfidence"], wrong["brier"]) == (1, 1)
    guess = score_reader(all_of("A", [i % 4 < 2 for i in range(len(SHOWN))], confidence=1), SHOWN)["calibration"]
    assert (guess["overconfidence"], guess["brier"]) == (0, 0.25)
    assert [(level["confidence"], level["num"]) for level in guess["levels"]] == [(1, NUM)]


def test_readers_together_are_as_many_images_as_one() -> None:
    readers = {name: all_of(name, [i % 5 != 0 for i in range(len(SHOWN))]) for name in "ABC"}
    together = score_all(readers, SHOWN)
    one = score_reader(readers["A"], SHOWN)
    assert together is not None
    assert together["accuracy"] == pytest.approx(one["accuracy"])
    assert together["fleiss"]["value"] == 1
    assert score_all({"A": readers["A"]}, SHOWN) is None


def test_a_verdict_says_no_more_than_its_interval() -> None:
    assert "not shown to differ from chance; anything from 30% to 70%" in verdict(
        {"value": 0.5, "low": 0.3, "high": 0.7, "num": 24}
    )
    assert "better than chance" in verdict({"value": 0.8, "low": 0.6, "high": 0.9, "num": 24})
    assert "more often than chance" in verdict({"value": 0.2, "low": 0.1, "high": 0.4, "num": 24})


def test_the_report_and_the_ratings_are_written(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rights = [i % 3 > 0 for i in range(len(SHOWN))]
    files = [write(tmp_path / "a.jsonl", all_of("A")), write(tmp_path / "b.jsonl", all_of("B", rights))]
    assert main(["readers", "score", str(study), *map(str, files), "--json"]) == DONE
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((study / "scores" / "readers.json").read_text())
    assert result["pairs"][0]["readers"] == ["A", "B"]
    page, text = ((study / "scores" / name).read_text("utf-8") for name in ("readers.html", "readers.md"))
    assert page.count("<img") == 16
    assert "A: 100% of 20 images right: tells them apart better than chance" in text
    ratings = [json.loads(line) for line in (study / "scores" / "ratings.jsonl").read_text().splitlines()]
    assert len(ratings) == 2 * len(SHOWN)
    assert ratings[1] | {"sha256": "sha-2", "reader": "A", "item": "002", "origin": "synthetic"} == ratings[1]
    assert sum(r["repeat"] for r in ratings) == 2 * REPEATS
    assert main(["readers", "score", str(study), *map(str, files), "--json"]) == DONE


def test_only_synthetic_pictures_enter_the_report(study: Path, tmp_path: Path) -> None:
    for each in SHOWN.values():
        grey = 200 if each.is_synthetic else 100
        write_png(study / "pictures" / f"{each.item}.png", np.full((8, 8, 1), grey, np.uint8))
    score_study(ReadersScoreConfig(study=study, answers=(write(tmp_path / "a.jsonl", all_of("A")),)))
    from vesalius.eval.pictures import image_uri

    page = (study / "scores" / "readers.html").read_text("utf-8")
    assert image_uri(study / "pictures" / "002.png").replace("=", "") in page.replace("=", "").replace("&#34;", "")
    assert image_uri(study / "pictures" / "001.png").replace("=", "") not in page.replace("=", "")


def test_a_page_or_key_that_was_changed_is_refused(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = write(tmp_path / "a.jsonl", all_of("A"))
    (study / "page" / "index.html").write_text("another")
    assert main(["readers", "score", str(study), str(answers)]) == USAGE
    assert "was changed since the key was written" in capsys.readouterr().err
    (study / "key.json").write_text("{}")
    with pytest.raises(ValueError, match="is not the key of a study"):
        read_key(study)
    with pytest.raises(ValueError, match="a row is not of a study"):
        shown_of({"items": [{"item": "1"}]}, study)
    assert main(["readers", "score", str(tmp_path / "nowhere"), str(answers)]) == USAGE
    assert "no study there" in capsys.readouterr().err

"""The store's cases and drafts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vesalius.demo.cases.case import Case, CaseImage
from vesalius.demo.sentences import Refusal
from vesalius.demo.store import cases as store
from vesalius.demo.store.pictures import pictures_of
from vesalius.demo.store.schema import STEPS, Store


def test_a_case_is_kept_as_it_was_written(kept_case: Any) -> None:
    again = store.find_case(Store(kept_case.store.folder), "local", kept_case.case.id)
    assert again == kept_case.case
    assert again.id
    assert again.updated


def test_a_second_save_of_an_old_stamp_is_told_and_changes_nothing(kept_case: Any) -> None:
    case = kept_case.case
    first = store.save_case(kept_case.store, "local", replace(case, title="First"), seen=case.updated)
    with pytest.raises(store.CaseChanged, match=r"changed meanwhile.*Save yours as a copy"):
        store.save_case(kept_case.store, "local", replace(case, title="Second"), seen=case.updated)
    assert store.find_case(kept_case.store, "local", case.id) == first
    store.save_case(kept_case.store, "local", replace(first, title="Third"), seen=first.updated)


def test_nobody_reads_changes_copies_or_deletes_another_persons_case(kept_case: Any) -> None:
    case, base = kept_case.case, kept_case.store
    for action in (
        lambda: store.find_case(base, "eve", case.id), lambda: store.duplicate_case(base, "eve", case.id),
        lambda: store.delete_case(base, "eve", case.id),
        lambda: store.save_case(base, "eve", case, seen=case.updated),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="is someone else's"):
            action()
    assert store.find_cases(base, "eve") == []
    stolen = Case(title="x", images=(CaseImage(picture=kept_case.pictures[0].id),))
    with pytest.raises(ValueError, match="1 of the pictures are no longer here, or are someone else's"):
        store.save_case(base, "eve", stolen)
    assert store.newest_draft(base, "eve") is None


def test_a_search_finds_all_words_in_any_field(kept_case: Any) -> None:
    ct = (CaseImage(picture=kept_case.pictures[0].id),)
    store.save_case(kept_case.store, "local", Case(title="右侧胸腔积液", images=ct, level="student", language="zh"))
    store.save_case(kept_case.store, "local", Case(title="100% sure"))
    counts = {
        "": 3, "zyxoma": 1, "THUMB sailor": 1, "quuxit": 1, "thumb nothing": 0, "xylograph": 1, "plughgraphy 2020": 1,
        "积液": 1, "胸腔": 1, "ＣＴ": 2, "100%": 1, "_": 0, "mri": 1,
    }  # fmt: skip
    assert {text: len(store.find_cases(kept_case.store, "local", text=text)) for text in counts} == counts


def test_a_search_is_narrowed_by_level_and_modality_and_titles_come_first(kept_case: Any) -> None:
    base = kept_case.store
    store.save_case(base, "local", Case(title="Other", history="zyxoma", level="student"))
    assert [c.title for c in store.find_cases(base, "local", text="zyxoma")] == ["Zyxoma of the thumb", "Other"]
    assert [c.title for c in store.find_cases(base, "local", level="student")] == ["Other"]
    assert [c.title for c in store.find_cases(base, "local", modality="MRI")] == ["Zyxoma of the thumb"]
    assert store.find_cases(base, "local", modality="MR") == []
    assert [c.title for c in store.find_cases(base, "local")] == ["Other", "Zyxoma of the thumb"]


def test_a_copy_is_a_case_of_its_own_and_deleting_keeps_pictures(kept_case: Any) -> None:
    copy = store.duplicate_case(kept_case.store, "local", kept_case.case.id)
    assert copy.title == "Zyxoma of the thumb (copy)"
    assert copy.images == kept_case.case.images
    store.delete_case(kept_case.store, "local", kept_case.case.id)
    assert [c.id for c in store.find_cases(kept_case.store, "local")] == [copy.id]
    assert {p.id for p in kept_case.pictures} == {p.id for p in pictures_of(kept_case.store, "local")}


def test_a_case_whose_picture_was_deleted_opens_saves_and_copies(kept_case: Any) -> None:
    gone = kept_case.pictures[0].id
    with kept_case.store.write() as db:
        db.execute("DELETE FROM pictures WHERE id = ?", [gone])
    case = store.find_case(kept_case.store, "local", kept_case.case.id)
    kept = store.save_case(kept_case.store, "local", replace(case, title="Still"), seen=case.updated)
    assert kept.images[0].picture == gone
    assert [i.picture for i in store.duplicate_case(kept_case.store, "local", case.id).images] == [
        p.id for p in kept_case.pictures[1:]
    ]


def test_a_draft_is_kept_until_its_case_is_saved(kept_case: Any, keep_picture: Any) -> None:
    base, picture = kept_case.store, keep_picture(kept_case.store, seed=9)
    store.keep_draft(base, "local", Case(title="new", images=(CaseImage(picture=picture.id),)), seen=0.0)
    store.keep_draft(base, "local", replace(kept_case.case, title="changed"), seen=kept_case.case.updated)
    draft = store.newest_draft(base, "local")
    assert draft is not None
    assert (draft.case.title, draft.case.id, draft.seen) == ("changed", kept_case.case.id, kept_case.case.updated)
    store.save_case(base, "local", draft.case, seen=draft.seen)
    assert store.newest_draft(base, "local").case.title == "new"  # type: ignore[union-attr]
    store.drop_draft(base, "local", "")
    assert store.newest_draft(base, "local") is None


@pytest.mark.parametrize("empty", [Case(), Case(level="resident", language="zh")])
def test_an_empty_case_is_not_kept(kept_case: Any, empty: Case) -> None:
    for case in (empty, replace(empty, id=kept_case.case.id)):
        with pytest.raises(Refusal, match="The case is empty") as refusal:
            store.save_case(kept_case.store, "local", case, seen=kept_case.case.updated)
        assert refusal.value.spoken("zh").startswith("病例是空的")
    store.keep_draft(kept_case.store, "local", empty, seen=0.0)
    assert store.set_aside(kept_case.store, "local") is None
    assert len(store.find_cases(kept_case.store, "local")) == 1


def test_a_draft_of_a_new_case_is_set_aside_as_a_case_before_the_next_one_begins(kept_case: Any) -> None:
    images = (CaseImage(picture=kept_case.pictures[0].id), CaseImage(picture="gone"))
    store.keep_draft(kept_case.store, "local", Case(title="Begun", images=images), seen=0.0)
    case = store.set_aside(kept_case.store, "local")
    assert case is not None
    assert (case.title, case.images) == ("Begun", images[:1])
    assert store.newest_draft(kept_case.store, "local") is None
    assert store.set_aside(kept_case.store, "local") is None


def test_a_person_keeps_only_so_many(kept_case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_CASES", 1)
    with pytest.raises(ValueError, match="You have 1 cases, which is as many as are kept"):
        store.save_case(kept_case.store, "local", Case(title="one more"))


def test_an_older_store_gains_what_cases_need(tmp_path: Path) -> None:
    import sqlite3

    (tmp_path / "pictures").mkdir()
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.executescript(STEPS[0])
        db.execute(
            "INSERT INTO cases (id, account, title, body, created, updated) VALUES ('a', 'local', 'Old', ?, 1.0, 1.0)",
            ['{"title": "Old", "images": []}'],
        )
        db.execute("PRAGMA user_version = 1")
    old = store.find_case(Store(tmp_path), "local", "a")
    assert old.title == "Old"
    store.save_case(Store(tmp_path), "local", old, seen=1.0)
    assert [c.id for c in store.find_cases(Store(tmp_path), "local", text="old")] == ["a"]

"""ZIP archives: read where they lie, and what is unsafe in them refused with its reason."""

from __future__ import annotations

import stat
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from vesalius.data.images.encode import encode
from vesalius.data.sources import archive
from vesalius.data.sources.archive import Member, members
from vesalius.data.sources.draft import Draft, Refused
from vesalius.data.sources.reading import Reading
from vesalius.data.sources.walk import drafts


def bundled(name: str) -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


def packed(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def read(path: Path) -> tuple[list[Draft], list[Refused]]:
    found = list(drafts(path, Reading()))
    return [d for d in found if isinstance(d, Draft)], [r for r in found if isinstance(r, Refused)]


def test_dicom_in_an_archive_is_what_it_is_on_disk(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", **{"SMITH/IM1": bundled("CT_small.dcm"), "b.dcm": bundled("MR_small.dcm")})
    good, bad = read(path)
    assert not bad
    assert [d.record.text for d in good] == ["Axial CT slice.", "Axial MRI slice."]
    (tmp_path / "b.dcm").write_bytes(bundled("MR_small.dcm"))
    (plain,), _ = read(tmp_path / "b.dcm")
    assert encode(good[1]) == encode(plain)
    assert good[1].record == plain.record
    assert "SMITH" not in str(good[0].record.to_json())


def test_archive_inside_a_folder_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    packed(tmp_path / "in" / "a.zip", x=bundled("CT_small.dcm"))
    assert len(read(tmp_path / "in")[0]) == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../../evil.dcm", "its name leads out of the archive"),
        ("/etc/evil.dcm", "its name leads out of the archive"),
        ("..\\evil.dcm", "its name leads out of the archive"),
        ("C:evil.dcm", "its name leads out of the archive"),
        ("inner.zip", "an archive inside an archive"),
        ("inner.tar.gz", "an archive inside an archive"),
        ("photo.png", "a table, image or slide in an archive"),
        ("metadata.csv", "a table, image or slide in an archive"),
        ("slide.svs", "a table, image or slide in an archive"),
        ("empty.dcm", "named as DICOM, but its content is not"),
    ],
)
def test_unsafe_member_is_refused_and_the_others_are_read(tmp_path: Path, name: str, reason: str) -> None:
    path = packed(tmp_path / "a.zip", **{name: b"x" * 200, "good.dcm": bundled("CT_small.dcm")})
    good, bad = read(path)
    assert len(good) == 1
    assert [reason in r.reason for r in bad] == [True]
    assert bad[0].reason.startswith(f"{path}/")


def test_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("link.dcm")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
        file.writestr("good.dcm", bundled("CT_small.dcm"))
    good, bad = read(tmp_path / "a.zip")
    assert len(good) == 1
    assert "a symbolic link" in bad[0].reason


def test_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", **{"a.dcm": bundled("CT_small.dcm")})
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    assert "encrypted" in read(path)[1][0].reason


def test_bomb_is_refused_without_being_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path / "a.zip", **{"a.dcm": bytes(20_000_000), "b.dcm": bundled("CT_small.dcm")})
    monkeypatch.setattr(archive, "MAX_FILE", 1_000_000)
    tracemalloc.start()
    good, bad = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(good) == 1
    assert "says that it unpacks to 20000000 bytes" in bad[0].reason
    assert peak < 10_000_000


def test_member_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", **{"a.dcm": bytes(3_000_000)})
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.rindex(b"PK\1\2") + 24, 500)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip/a\.dcm: damaged in its archive"):
        Member(path, "a.dcm").open()


def test_overlapping_members_are_refused_whole(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", **{"a.dcm": bytes(1_000_000)})
    content = path.read_bytes()
    start = content.rindex(b"PK\1\2")
    end = content.rindex(b"PK\5\6")
    entry, tail = content[start:end], bytearray(content[end:])
    copies = b"".join(entry.replace(b"a.dcm", b"%05d" % i) for i in range(5000))
    struct.pack_into("<HHI", tail, 8, 5000, 5000, len(copies))
    path.write_bytes(content[:start] + copies + tail)
    with pytest.raises(ValueError, match="which none of its size can; leave it out"):
        list(members(path))


def test_archive_without_any_image_says_what_is_wanted(tmp_path: Path) -> None:
    assert "holds no DICOM and no NIfTI file; give a" in read(packed(tmp_path / "a.zip", notes=b"x"))[1][0].reason
    assert "holds no DICOM" in read(packed(tmp_path / "b.zip"))[1][0].reason


@pytest.mark.parametrize("content", [b"PK\3\4 nothing", b"plain text", bytes(1000)])
def test_what_is_no_archive_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    assert "not a ZIP archive, or damaged" in read(tmp_path / "a.zip")[1][0].reason
    (tmp_path / "b.zip").write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        read(tmp_path / "b.zip")

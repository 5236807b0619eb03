"""The elements of a DICOM file of the common kind, found in a tenth of the time that pydicom takes.

Reading a header is most of what a build does beside decoding. This walks the elements in little endian order (PS3.5
7.1), which nearly all files have, those with compressed pixels too, and keeps where each value lies; pydicom makes the
values of those that are asked for, as it would of its own. Whatever is out of the ordinary is left to pydicom whole:
the other byte order, sequences without a length, unknown kinds of value, and files that end too soon.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.tag import BaseTag

_EXPLICIT, _IMPLICIT = Struct("<HH2sH").unpack_from, Struct("<HHI").unpack_from
_LENGTH, _ITEM = Struct("<I").unpack_from, Struct("<II").unpack_from
_SHORT = {kind: kind.decode() for kind in (
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
    b"ST", b"TM", b"UI", b"UL", b"US",
)}  # fmt: skip
_LONG = {kind: kind.decode() for kind in (
    b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV",
)}  # fmt: skip
"""Kinds of value whose length is written in 2 and in 4 bytes."""
_WORD = re.compile(rb"[A-Za-z0-9_ ]*[ \0]?")
_DECIMAL = re.compile(rb" *[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})? *")
_UNDEFINED = 0xFFFFFFFF
_FIRST, _CHARSET, _PIXEL_DATA = 0x00080000, 0x00080005, 0x7FE00010
_FRAGMENT, _END = 0xE000FFFE, 0xE0DDFFFE
"""Item and sequence delimitation, as their four bytes read in little endian order."""


@lru_cache(maxsize=4096)
def tag_at(number: int) -> BaseTag:
    """A tag, always the same object, since pydicom compares two of them by slow code, but not one with itself."""
    from pydicom.tag import BaseTag

    return BaseTag(number)


@cache
def tag_of(name: str) -> BaseTag:
    from pydicom.tag import Tag

    return tag_at(int(Tag(name)))


@cache
def _kind_of(tag: BaseTag) -> str:
    from pydicom.datadict import dictionary_VR

    return str(dictionary_VR(tag))


def value_of(dataset: Any, name: str) -> Any:
    """`dataset.get(name)`, in a fraction of the time where the attribute lacks, as most do, or is simple. A decimal
    string is a plain float, several of them are a list."""
    tag = tag_of(name)
    element = dataset.get_item(tag)
    if element is None:
        return None
    if element.is_raw and (value := _simple(element.VR or _kind_of(tag), element)) is not None:
        return value
    return dataset[tag].value


def _simple(kind: str, raw: Any) -> Any:
    """A whole number, a code word or decimal numbers as pydicom has them; None where it takes more to tell."""
    content = raw.value
    if kind == "US":
        return int.from_bytes(content, "little") if len(content) == 2 and raw.is_little_endian else None
    if kind == "CS":
        return content.decode().rstrip(" \0") if _WORD.fullmatch(content) else None
    if kind == "DS":
        parts = content.rstrip(b" \0").split(b"\\")
        if all(map(_DECIMAL.fullmatch, parts)):
            return float(parts[0]) if len(parts) == 1 else [float(part) for part in parts]
    return None


def scanned(content: bytes, start: int, syntax: str, *, wanted: frozenset[int] | None, last: int) -> Any:
    """The dataset in a file's first bytes, from `start`, where its meta information ends; None where it is not of the
    common kind, or `content` ends before the element `last`, or the file, does.

    syntax: its transfer syntax. wanted: the tags to keep; None for all. last: the last tag that is read.
    """
    meta = _meta_of(syntax)
    if meta is None or _seems_explicit(content, start) is meta.TransferSyntaxUID.is_implicit_VR:
        return None
    elements = _implicit if meta.TransferSyntaxUID.is_implicit_VR else _explicit
    raw = elements(content, start, wanted, last)
    if raw is None:
        return None
    from pydicom.dataset import Dataset

    encoding: Any = "iso8859"
    if (charset := raw.get(tag_at(_CHARSET))) is not None:
        encoding = _encodings(charset.value)
    dataset = Dataset(raw)
    dataset.set_original_encoding(elements is _implicit, True, encoding)
    dataset.file_meta = meta
    return dataset


def _seems_explicit(content: bytes, start: int) -> bool:
    """Whether the first element names its kind of value, which some files do or do not against what they announce."""
    return content[start + 4 : start + 6].isalpha() and content[start + 4 : start + 6].isupper()


def _explicit(content: bytes, at: int, wanted: frozenset[int] | None, last: int) -> dict[Any, Any] | None:
    """Raw elements by tag, where each names its kind of value."""
    from pydicom.dataelem import RawDataElement, empty_value_for_VR

    found: dict[Any, Any] = {}
    end = len(content)
    while at + 8 <= end:
        group, element, kind, length = _EXPLICIT(content, at)
        tag = group << 16 | element
        if tag > last or not tag:
            return found
        at += 8
        if (name := _SHORT.get(kind)) is None:
            if (name := _LONG.get(kind)) is None or at + 4 > end:
                return None
            (length,) = _LENGTH(content, at)
            at += 4
            if length == _UNDEFINED:
                stop = _fragments_end(content, at) if tag == _PIXEL_DATA else None
                if stop is None:
                    return None
                key = tag_at(tag)
                found[key] = RawDataElement(key, name, length, content[at:stop], at, False, True)
                at = stop + 8
                continue
        if tag < _FIRST or at + length > end:
            return None
        if wanted is None or tag in wanted:
            key = tag_at(tag)
            value = content[at : at + length] if length else empty_value_for_VR(name, raw=True)
            found[key] = RawDataElement(key, name, length, value, at, False, True)
        at += length
    return found if at == end and last == _PIXEL_DATA else None


def _implicit(content: bytes, at: int, wanted: frozenset[int] | None, last: int) -> dict[Any, Any] | None:
    """The same, where pydicom knows the kinds of value by their tags."""
    from pydicom.dataelem import RawDataElement, empty_value_for_VR

    found: dict[Any, Any] = {}
    end = len(content)
    while at + 8 <= end:
        group, element, length = _IMPLICIT(content, at)
        tag = group << 16 | element
        if tag > last or not tag:
            return found
        at += 8
        if tag < _FIRST or at + length > end:  # so with no length, which is the greatest
            return None
        if wanted is None or tag in wanted:
            key = tag_at(tag)
            value = content[at : at + length] if length else empty_value_for_VR(None, raw=True)
            found[key] = RawDataElement(key, None, length, value, at, True, True)
        at += length
    return found if at == end and last == _PIXEL_DATA else None


def _fragments_end(content: bytes, at: int) -> int | None:
    """Where the fragments of compressed pixels (PS3.5 A.4) end; None where they do not as they should."""
    while at + 8 <= len(content):
        kind, length = _ITEM(content, at)
        if kind != _FRAGMENT:
            return at if kind == _END else None
        at += 8 + length
    return None


@cache
def _meta_of(syntax: str) -> Any:
    """Meta information that names a transfer syntax and no more; None where it is not a public one in little endian
    order. All datasets share it: nothing may be written to it."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

    uid = UID(syntax)
    if (
        not uid.is_transfer_syntax
        or uid.is_private
        or not uid.is_little_endian
        or uid == DeflatedExplicitVRLittleEndian
    ):
        return None
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = uid
    return meta


@lru_cache(maxsize=64)
def _encodings(value: bytes | None) -> Any:
    """The character sets that Specific Character Set names, as pydicom has them."""
    from pydicom.charset import convert_encodings
    from pydicom.dataelem import RawDataElement, convert_raw_data_element

    raw = RawDataElement(tag_at(_CHARSET), "CS", len(value or b""), value, 0, False, True)
    return convert_encodings(convert_raw_data_element(raw).value)

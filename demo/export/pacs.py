"""A case to an image archive by STOW-RS. Its address is the command line's, its password the environment's."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from vesalius.demo.export.dicom_study import instances, study_uid
from vesalius.demo.export.sheet import Sheet
from vesalius.demo.sentences import Refusal
from vesalius.demo.store.schema import Store

USER, PASSWORD = "VESALIUS_PACS_USER", "VESALIUS_PACS_PASSWORD"
"""Variables of the environment with the archive's name and password."""
SECONDS = (5.0, 30.0)
"""How long a connection, and then an answer, may take."""

TROUBLE = {
    "password": (
        f"The image archive refused name or password; the owner of this page sets {USER} and {PASSWORD}",
        f"影像归档拒绝了用户名或密码；请本页管理员设置 {USER} 和 {PASSWORD}",
    ),
    "address": (
        "The image archive has no DICOMweb at the address that --pacs gives",
        "影像归档在 --pacs 给出的地址上没有 DICOMweb 服务",
    ),
    "conflict": (
        "The image archive refused the pictures (409, a conflict); ask those who run it",
        "影像归档拒绝了图像（409，冲突）；请联系其管理员",
    ),
    "answered": (
        "The image archive could not take the case (it answered {status}); try again, or ask those who run it",
        "影像归档未能接收病例（应答 {status}）；请重试或联系其管理员",
    ),
    "late": ("The image archive did not answer in time; try again later", "影像归档未及时应答；请稍后重试"),
    "unreached": (
        "The image archive cannot be reached; is it running, and is the address that --pacs gives right?",
        "无法连接影像归档；它是否在运行，--pacs 给出的地址是否正确？",
    ),
    "other": (
        "The image archive could not take the case ({name}); try again",
        "影像归档未能接收病例（{name}）；请重试",
    ),
}
"""What an archive's answers come to."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What became of a case. there: pictures that the archive had already."""

    new: int
    there: int
    study: str


def send(store: Store, sheet: Sheet, address: str | None) -> Sent:
    """Send a case's study, but for what the archive has of it. ValueError says in a sentence why it did not work."""
    if not address:
        raise Refusal(
            "No image archive is set; the owner of this page gives its address with --pacs",
            "未设置影像归档；请本页管理员用 --pacs 指定其地址",
        )
    check_archive(address)
    study = instances(store, sheet)
    client, failures = _client(address)
    try:
        there = _there(client, study_uid(sheet))
        missing = [image for image in study if image.SOPInstanceUID not in there]
        if missing:
            _check(client.store_instances(missing), missing)
    except failures as error:
        raise _told(error) from None
    return Sent(new=len(missing), there=len(study) - len(missing), study=study_uid(sheet))


def check_archive(address: str) -> None:
    """ValueError where an address is none of DICOMweb, or where the library that speaks it is not installed."""
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        raise Refusal(
            "--pacs is no address of DICOMweb; expected one such as http://localhost:8042/dicom-web",
            "--pacs 不是 DICOMweb 地址；应形如 http://localhost:8042/dicom-web",
        )
    _client(address)


def _client(address: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """A client that asks once, and what it raises where that fails."""
    try:
        from dicomweb_client.api import DICOMwebClient
        from requests import RequestException, Session
        from retrying import RetryError  # type: ignore[import-untyped]
    except ImportError:
        raise Refusal(
            "Sending to an image archive needs dicomweb-client, which is not installed here: "
            'pip install "vesalius[pacs]"',
            '发送到影像归档需要 dicomweb-client，此处未安装：pip install "vesalius[pacs]"',
        ) from None
    session = Session()
    session.trust_env = False  # no password of a .netrc, no proxy: the archive is what --pacs says
    if user := os.environ.get(USER):
        session.auth = (user, os.environ.get(PASSWORD, ""))
    client = DICOMwebClient(address, session=session, timeout=SECONDS)
    client.set_http_retry_params(retry=False)
    return client, (RequestException, RetryError)


def _there(client: Any, study: str) -> set[str]:
    """The instances that the archive has of a study."""
    from requests import HTTPError

    try:
        rows = client.search_for_instances(study_instance_uid=study, get_remaining=True)
    except HTTPError as error:
        if error.response is not None and error.response.status_code in (404, 204):
            return set()
        raise
    return {row["00080018"]["Value"][0] for row in rows if row.get("00080018", {}).get("Value")}


def _check(answer: Any, sent: list[Any]) -> None:
    """ValueError where the archive took only some (PS3.18 10.5.3)."""
    failed = getattr(answer, "FailedSOPSequence", None) or ()
    if failed:
        reasons = {f"{int(each.get('FailureReason', 0)):04X}" for each in failed}
        raise Refusal(
            f"The image archive refused {len(failed)} of {len(sent)} pictures (reason {', '.join(sorted(reasons))}); "
            "ask those who run it",
            f"影像归档拒绝了 {len(sent)} 幅图像中的 {len(failed)} 幅（{', '.join(sorted(reasons))}）；请联系其管理员",
        )


def _told(error: Exception) -> Refusal:
    """Why it did not work, in words that hold neither address nor password."""
    from requests import ConnectionError, HTTPError, Timeout

    if isinstance(error, HTTPError) and error.response is not None:
        status = error.response.status_code
        key = {401: "password", 403: "password", 404: "address", 409: "conflict"}.get(status, "answered")
        return Refusal.of(TROUBLE[key], status=status)
    if isinstance(error, Timeout):
        return Refusal.of(TROUBLE["late"])
    if isinstance(error, ConnectionError):
        return Refusal.of(TROUBLE["unreached"])
    return Refusal.of(TROUBLE["other"], name=re.sub(r"[^A-Za-z]", "", type(error).__name__))

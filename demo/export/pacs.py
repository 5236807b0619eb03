"""A case to an image archive by STOW-RS. Its address is the command line's, its password the environment's."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from vesalius.demo.export.dicom_study import instances, study_uid
from vesalius.demo.export.sheet import Sheet
from vesalius.demo.store.schema import Store

USER, PASSWORD = "VESALIUS_PACS_USER", "VESALIUS_PACS_PASSWORD"
"""Variables of the environment with the archive's name and password."""
SECONDS = (5.0, 30.0)
"""How long a connection, and then an answer, may take."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What became of a case. there: pictures that the archive had already."""

    new: int
    there: int
    study: str


def send(store: Store, sheet: Sheet, address: str | None) -> Sent:
    """Send a case's study, but for what the archive has of it. ValueError says in a sentence why it did not work."""
    if not address:
        raise ValueError("No image archive is set; the owner of this page gives its address with --pacs")
    check_archive(address)
    study = instances(store, sheet)
    client, failures = _client(address)
    try:
        there = _there(client, study_uid(sheet))
        missing = [image for image in study if image.SOPInstanceUID not in there]
        if missing:
            _check(client.store_instances(missing), missing)
    except failures as error:
        raise ValueError(_told(error)) from None
    return Sent(new=len(missing), there=len(study) - len(missing), study=study_uid(sheet))


def check_archive(address: str) -> None:
    """ValueError where an address is none of DICOMweb, or where the library that speaks it is not installed."""
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        raise ValueError("--pacs is no address of DICOMweb; expected one such as http://localhost:8042/dicom-web")
    _client(address)


def _client(address: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """A client that asks once, and what it raises where that fails."""
    try:
        from dicomweb_client.api import DICOMwebClient
        from requests import RequestException, Session
        from retrying import RetryError  # type: ignore[import-untyped]
    except ImportError:
        raise ValueError(
            "Sending to an image archive needs dicomweb-client, which is not installed here: "
            'pip install "vesalius[pacs]"'
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
        raise ValueError(
            f"The image archive refused {len(failed)} of {len(sent)} pictures (reason {', '.join(sorted(reasons))}); "
            "ask those who run it"
        )


def _told(error: Exception) -> str:
    """Why it did not work, in words that hold neither address nor password."""
    from requests import ConnectionError, HTTPError, Timeout

    if isinstance(error, HTTPError) and error.response is not None:
        status = error.response.status_code
        if status in (401, 403):
            return f"The image archive refused name or password; the owner of this page sets {USER} and {PASSWORD}"
        if status == 404:
            return "The image archive has no DICOMweb at the address that --pacs gives"
        if status == 409:
            return "The image archive refused the pictures (409, a conflict); ask those who run it"
        return f"The image archive could not take the case (it answered {status}); try again, or ask those who run it"
    if isinstance(error, Timeout):
        return "The image archive did not answer in time; try again later"
    if isinstance(error, ConnectionError):
        return "The image archive cannot be reached; is it running, and is the address that --pacs gives right?"
    return f"The image archive could not take the case ({re.sub(r'[^A-Za-z]', '', type(error).__name__)}); try again"

"""A case sent to an image archive: a real Orthanc, where there is one."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from vesalius.demo.export.dicom_study import instances
from vesalius.demo.export.pacs import PASSWORD, USER, Sent, send
from vesalius.demo.export.sheet import Sheet, sheet_of
from vesalius.inference.writing.secondary_capture import NOTE

SECRET = "a-password-of-the-archive"
PLUGIN = next(
    (
        path
        for folder in ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")
        for path in sorted(Path(folder).glob("libOrthancDicomWeb.so*"))
    ),
    None,
)


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A running Orthanc."""

    address: str
    process: subprocess.Popen[bytes]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Archive]:
    """Orthanc with its DICOMweb plugin and a password, on loopback, in a folder of its own."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None or PLUGIN is None:
        pytest.skip("needs orthanc: apt-get install orthanc orthanc-dicomweb")
    folder, port = tmp_path / "orthanc", free_port()
    folder.mkdir()
    settings = {
        "Name": "test", "StorageDirectory": str(folder), "IndexDirectory": str(folder), "HttpPort": port,
        "DicomServerEnabled": False, "RemoteAccessAllowed": False, "AuthenticationEnabled": True,
        "RegisteredUsers": {"teacher": SECRET}, "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}/dicom-web"
    try:
        for _ in range(300):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                httpx.get(f"{address}/studies", auth=("teacher", SECRET))
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield Archive(address=address, process=process)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USER, "teacher")
    monkeypatch.setenv(PASSWORD, SECRET)


def sheet(kept: Any, *, unknown: bool = False) -> Sheet:
    return sheet_of(kept.store, "local", kept.case, unknown=unknown)


@pytest.mark.slow
@pytest.mark.usefixtures("password")
def test_a_case_is_stored_once_and_found_again_as_it_was_sent(
    kept_case: Any, orthanc: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    from dicomweb_client.api import DICOMwebClient
    from requests import Session

    caplog.set_level(logging.DEBUG)
    first = send(kept_case.store, sheet(kept_case), orthanc.address)
    again = send(kept_case.store, sheet(kept_case), orthanc.address)
    assert (first.new, first.there) == (3, 0)
    assert again == Sent(new=0, there=3, study=first.study)

    session = Session()
    session.auth = ("teacher", SECRET)
    client = DICOMwebClient(orthanc.address, session=session)
    (study,) = client.search_for_studies(search_filters={"StudyInstanceUID": first.study}, fields=["StudyDescription"])
    assert study["00081030"]["Value"] == [f"{NOTE}. Zyxoma of the thumb"]
    assert len(client.search_for_series(study_instance_uid=first.study)) == 2
    sent = {i.SOPInstanceUID: i for i in instances(kept_case.store, sheet(kept_case))}
    stored = {i.SOPInstanceUID: i for i in client.retrieve_study(first.study)}
    assert stored.keys() == sent.keys()
    for uid, image in stored.items():
        assert np.array_equal(image.pixel_array, sent[uid].pixel_array)
        for name in ("PatientName", "PatientID", "ImageComments", "BurnedInAnnotation", "SyntheticData", "Modality"):
            assert image.get(name) == sent[uid].get(name), name
    hidden = send(kept_case.store, sheet(kept_case, unknown=True), orthanc.address)
    assert hidden.new == 2
    told = str(client.retrieve_study(hidden.study))
    assert not [word for word in kept_case.answer if word.casefold() in told.casefold()]
    assert SECRET not in caplog.text


@pytest.mark.slow
def test_a_wrong_password_and_a_stopped_archive_are_told_in_a_sentence(
    kept_case: Any, orthanc: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(USER, "teacher")
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(ValueError, match=f"refused name or password; the owner of this page sets {USER}"):
        send(kept_case.store, sheet(kept_case), orthanc.address)
    monkeypatch.setenv(PASSWORD, SECRET)
    with pytest.raises(ValueError, match="has no DICOMweb at the address"):
        send(kept_case.store, sheet(kept_case), orthanc.address.replace("dicom-web", "elsewhere"))
    orthanc.process.terminate()
    orthanc.process.wait(20)
    with pytest.raises(ValueError, match="cannot be reached; is it running"):
        send(kept_case.store, sheet(kept_case), orthanc.address)


@pytest.mark.parametrize("address", [None, ""])
def test_without_an_address_nothing_is_sent(kept_case: Any, address: str | None) -> None:
    with pytest.raises(ValueError, match="gives its address with --pacs"):
        send(kept_case.store, sheet(kept_case), address)


def test_an_address_that_is_none_is_told_without_it(kept_case: Any) -> None:
    with pytest.raises(ValueError, match="is no address of DICOMweb") as told:
        send(kept_case.store, sheet(kept_case), "file:///etc/secret")
    assert "secret" not in str(told.value)


class Reluctant(BaseHTTPRequestHandler):
    """An archive that has nothing, and takes all pictures but one (PS3.18 10.5.3)."""

    def do_GET(self) -> None:
        self.send_error(404)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        failed = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xA700]}}]}}
        body = json.dumps(failed).encode()
        self.send_response(202)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Into no log."""


def test_an_archive_that_takes_only_some_pictures_is_told_with_its_reason(kept_case: Any) -> None:
    pytest.importorskip("dicomweb_client")
    with HTTPServer(("127.0.0.1", 0), Reluctant) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            with pytest.raises(ValueError, match=r"refused 1 of 3 pictures \(reason A700\); ask those who run it"):
                send(kept_case.store, sheet(kept_case), f"http://127.0.0.1:{server.server_port}/dicom-web")
        finally:
            server.shutdown()
            thread.join()


def test_a_missing_library_is_named_with_its_remedy(kept_case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dicomweb_client.api", None)
    with pytest.raises(ValueError, match=r'pip install "vesalius\[pacs\]"'):
        send(kept_case.store, sheet(kept_case), "http://127.0.0.1:1/dicom-web")


def test_an_archive_that_does_not_run_is_told_without_its_address(kept_case: Any) -> None:
    with pytest.raises(
        ValueError, match="cannot be reached; is it running, and is the address that --pacs gives"
    ) as told:
        send(kept_case.store, sheet(kept_case), f"http://127.0.0.1:{free_port()}/dicom-web")
    assert "127.0.0.1" not in str(told.value)

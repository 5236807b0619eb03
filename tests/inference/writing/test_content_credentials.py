"""Content Credentials: what a run signs is read back by the library, and what was changed afterwards is found."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vesalius.data.images.drawn import drawn_depth
from vesalius.data.images.image import png_bytes, read_hu, read_image, read_recipe
from vesalius.data.images.png import encode_png
from vesalius.inference import GenerateConfig
from vesalius.inference.running.run import draw_samples
from vesalius.inference.sample import Sample
from vesalius.inference.writing.content_credentials import (
    SOURCE_TYPE,
    Credentials,
    check_seal,
    faults_of,
    open_seal,
    read_credentials,
    sign_png,
)

c2pa = pytest.importorskip("c2pa", reason="needs c2pa-python")
x509 = pytest.importorskip("cryptography.x509", reason="needs cryptography")
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402

PROMPTS = ("Chest CT with a nodule in the left lung.", "Brain MRI of Erika Mustermann, no mass.")
KINDS: dict[str, Callable[[], Any]] = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
}
DAY = timedelta(days=1)


def certificate(
    name: str, key: Any, issuer: str, issuer_key: Any, *, begins: int = -1, ends: int = 30, purpose: Any = None
) -> Any:
    """A certificate of an authority, or of a signer where a purpose is given. begins, ends: in days from now."""
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each)]) for each in (name, issuer)]
    now, signs, public = datetime.now(UTC), purpose is not None, issuer_key.public_key()
    usage = {
        "digital_signature": signs, "key_cert_sign": not signs, "crl_sign": not signs, "content_commitment": False,
        "key_encipherment": False, "data_encipherment": False, "key_agreement": False, "encipher_only": False,
        "decipher_only": False,
    }  # fmt: skip
    builder = (
        x509.CertificateBuilder(names[1], names[0], key.public_key(), x509.random_serial_number())
        .not_valid_before(now + begins * DAY)
        .not_valid_after(now + ends * DAY)
        .add_extension(x509.BasicConstraints(ca=not signs, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    if signs:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return builder.sign(issuer_key, None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def pem(thing: Any, password: bytes | None = None) -> bytes:
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM)
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return thing.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, lock)


@pytest.fixture(scope="module")
def authority() -> tuple[Any, Any]:
    key = KINDS["es256"]()
    return key, certificate("A hospital's authority", key, "A hospital's authority", key)


@pytest.fixture
def files(authority: tuple[Any, Any], tmp_path: Path) -> tuple[Path, Path]:
    """A chain and its key."""
    return write_files(tmp_path, authority)


def write_files(folder: Path, authority: tuple[Any, Any], kind: str = "es256", **changes: Any) -> tuple[Path, Path]:
    key = KINDS[kind]()
    purpose = {"purpose": x509.ExtendedKeyUsageOID.EMAIL_PROTECTION}
    signer = certificate("A hospital", key, "A hospital's authority", authority[0], **{**purpose, **changes})
    cert_path, key_path = folder / "chain.pem", folder / "key.pem"
    cert_path.write_bytes(pem(signer) + pem(authority[1]))
    form = serialization.PrivateFormat.PKCS8 if kind == "ed25519" else serialization.PrivateFormat.TraditionalOpenSSL
    key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return cert_path, key_path


def manifest_of(path: Path, authority: Any = None) -> tuple[dict[str, Any], str]:
    """The manifest of a file as the library reads it, and what it says of it."""
    settings: dict[str, Any] = {"verify": {"remote_manifest_fetch": False}}
    if authority is not None:
        settings["trust"] = {"user_anchors": pem(authority).decode()}
    with c2pa.Context.from_dict(settings) as context, c2pa.Reader(path, context=context) as reader:
        return reader.get_active_manifest(), reader.get_validation_state()


def config(base: Path, out: Path, files: tuple[Path, Path], **changes: object) -> GenerateConfig:
    usual = GenerateConfig(
        prompt=PROMPTS, out=out, base=str(base), num=2, steps=1, json=True, c2pa_cert=files[0], c2pa_key=files[1]
    )
    return dataclasses.replace(usual, **changes)


def changed(content: bytes) -> bytes:
    """The PNG with other pixels and all else as it was."""
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.array(image)
    pixels[0, 0] ^= 1
    other = encode_png(pixels[..., None] if pixels.ndim == 2 else pixels)
    start, end = content.index(b"IDAT") - 4, content.index(b"IEND") - 4
    return content[:start] + other[other.index(b"IDAT") - 4 : other.index(b"IEND") - 4] + content[end:]


def test_a_signed_drawing_is_known_as_such_also_by_its_manifest_alone(files: tuple[Path, Path], tmp_path: Path) -> None:
    credentials, grey = read_credentials(*files), np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    for name, recipe, depth in (("a", {"synthetic": True, "depth": 3}, 3), ("b", None, 1)):
        (tmp_path / f"{name}.png").write_bytes(sign_png(png_bytes(grey, recipe), credentials))
        assert drawn_depth(tmp_path / f"{name}.png") == depth


@pytest.mark.parametrize("sink", ["png", "imagefolder"])
def test_every_png_of_a_run_carries_a_valid_manifest(
    windowed_base: Path, authority: tuple[Any, Any], files: tuple[Path, Path], tmp_path: Path, sink: str
) -> None:
    run = config(windowed_base, tmp_path / "s", files, sink=sink)
    samples = draw_samples(run)
    folder = run.out / "train" if sink == "imagefolder" else run.out
    pictures = sorted(folder.rglob("*.png"))
    assert len(pictures) == (4 if sink == "imagefolder" else 6)  # Hounsfield units too
    for path in pictures:
        manifest, state = manifest_of(path, authority[1])
        assert state == "Trusted"
        assert manifest_of(path)[1] == "Valid"
        (actions,) = (each["data"]["actions"] for each in manifest["assertions"] if "actions" in each["label"])
        (created,) = actions
        assert created["action"] == "c2pa.created"
        assert created["digitalSourceType"] == SOURCE_TYPE
        assert created["softwareAgent"]["name"] == "vesalius"
        assert manifest["claim_generator_info"][0]["name"] == "vesalius"
        told = json.dumps(manifest)
        assert "Mustermann" not in told
        assert "thumbnail" not in told
    for sample in samples:
        assert hashlib.sha256((folder / sample.file_name).read_bytes()).hexdigest() == sample.sha256
        assert read_recipe(folder / sample.file_name)["text"] == sample.text


def test_signing_changes_no_pixel(windowed_base: Path, files: tuple[Path, Path], tmp_path: Path) -> None:
    plain = draw_samples(config(windowed_base, tmp_path / "plain", files, c2pa_cert=None, c2pa_key=None))
    signed = draw_samples(config(windowed_base, tmp_path / "signed", files))
    for one, other in zip(plain, signed, strict=True):
        pictures = [read_image(tmp_path / n / s.file_name) for n, s in (("plain", one), ("signed", other))]
        assert np.array_equal(*pictures)
        assert one.sha256 != other.sha256
        if one.raw16 and other.raw16:
            assert np.array_equal(read_hu(tmp_path / "plain" / one.raw16), read_hu(tmp_path / "signed" / other.raw16))


def test_a_pixel_that_was_changed_is_found(files: tuple[Path, Path]) -> None:
    picture = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32, 1)
    signed = sign_png(png_bytes(picture, {"synthetic": True}), read_credentials(*files))
    assert faults_of(signed) == []
    (fault,) = faults_of(changed(signed))
    assert "assertion.dataHash.mismatch" in fault
    altered = signed.replace(b"c2pa.created", b"c2pa.edited!")
    assert altered != signed
    assert faults_of(altered)


@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_every_usual_kind_sign(authority: tuple[Any, Any], tmp_path: Path, kind: str) -> None:
    credentials = read_credentials(*write_files(tmp_path, authority, kind))
    assert credentials.algorithm == kind
    assert "PRIVATE" not in repr(credentials)
    assert faults_of(sign_png(png_bytes(np.zeros((9, 7, 3), np.uint8)), credentials)) == []


@pytest.mark.parametrize("purpose", ["1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1"], ids=["documents", "C2PA"])
def test_certificates_for_documents_and_for_c2pa_itself_sign_too(
    authority: tuple[Any, Any], tmp_path: Path, purpose: str
) -> None:
    files = write_files(tmp_path, authority, purpose=x509.ObjectIdentifier(purpose))
    check_seal(config(tmp_path / "no base", tmp_path / "s", files))


def test_a_stopped_run_keeps_what_is_whole_and_ends_with_the_same_pictures(
    tiny_base: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    run = config(tiny_base, tmp_path / "s", files)
    before = draw_samples(run)
    paths = {s.file_name: run.out / s.file_name for s in before}
    kept = {name: path.read_bytes() for name, path in paths.items()}
    gone = before[1].file_name
    image = read_image(paths[gone])
    paths[gone].unlink()
    after = {s.file_name: s for s in draw_samples(run)}
    assert set(after) == set(kept)
    for name, path in paths.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == after[name].sha256
        assert (path.read_bytes() == kept[name]) == (name != gone)
        assert manifest_of(path)[1] == "Valid"
    assert np.array_equal(read_image(paths[gone]), image)
    told = json.loads((run.out / "config.json").read_text())
    assert "c2pa_key" not in told
    assert told["c2pa_cert"] == str(files[0])


def refusal(config: GenerateConfig) -> str:
    """What a run says that cannot sign; it has written nothing."""
    with pytest.raises(ValueError, match=r".") as error:
        draw_samples(config)
    assert not config.out.exists()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("sink", ["dicom", "parquet", "webdataset"])
def test_other_sinks_are_refused(files: tuple[Path, Path], tmp_path: Path, sink: str) -> None:
    run = config(tmp_path / "no base", tmp_path / "s", files, sink=sink)
    assert f"not of --sink {sink}" in refusal(run)


def test_half_of_the_settings_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    run = config(tmp_path / "no base", tmp_path / "s", files)
    assert "give --c2pa-key too" in refusal(dataclasses.replace(run, c2pa_key=None))
    assert "give --c2pa-cert too" in refusal(dataclasses.replace(run, c2pa_cert=None))
    alone = dataclasses.replace(run, c2pa_cert=None, c2pa_key=None, c2pa_timestamp="http://127.0.0.1:9")
    assert "nothing is signed" in refusal(alone)


def test_bad_files_are_refused_by_their_names(
    authority: tuple[Any, Any], files: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = files
    run = config(tmp_path / "no base", tmp_path / "s", files)
    assert refusal(dataclasses.replace(run, c2pa_key=tmp_path / "none.pem")).startswith(f"{tmp_path / 'none.pem'}: ")
    whole = cert.read_bytes()
    cert.write_bytes(b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    assert f"{cert}: holds no certificate" in refusal(run)
    cert.write_bytes(b"")
    assert f"{cert}: holds no certificate" in refusal(run)
    cert.write_bytes(pem(authority[1]) + whole)
    assert "the signer's certificate comes first" in refusal(run)
    cert.write_bytes(whole)
    secret = key.read_bytes()
    key.write_bytes(whole)
    assert f"{key}: holds no private key" in refusal(run)
    key.write_bytes(pem(KINDS["es256"]()))
    assert f"{key}: is not the key of the first certificate" in refusal(run)
    key.write_bytes(pem(serialization.load_pem_private_key(secret, None), b"password"))
    assert f"{key}: is locked with a password" in refusal(run)


def test_certificates_that_c2pa_does_not_take_are_refused(authority: tuple[Any, Any], tmp_path: Path) -> None:
    def told(**changes: Any) -> str:
        return refusal(config(tmp_path / "no base", tmp_path / "s", write_files(tmp_path, authority, **changes)))

    assert "is valid from" in told(begins=-3, ends=-2)
    assert "is valid from" in told(begins=2, ends=3)
    assert "would not be valid" in told(purpose=x509.ExtendedKeyUsageOID.SERVER_AUTH)
    (tmp_path / "root.pem").write_bytes(pem(authority[1]))
    (tmp_path / "root.key").write_bytes(pem(authority[0]))
    run = config(tmp_path / "no base", tmp_path / "s", (tmp_path / "root.pem", tmp_path / "root.key"))
    assert "CA:FALSE" in refusal(run)
    assert check_seal(dataclasses.replace(run, c2pa_cert=None, c2pa_key=None)) is None


def test_a_signer_that_nobody_vouches_for_is_valid_but_not_trusted(authority: tuple[Any, Any], tmp_path: Path) -> None:
    key = KINDS["es256"]()
    alone = certificate("Me", key, "Me", key, purpose=x509.ExtendedKeyUsageOID.EMAIL_PROTECTION)
    (tmp_path / "me.pem").write_bytes(pem(alone))
    (tmp_path / "me.key").write_bytes(pem(key))
    credentials = read_credentials(tmp_path / "me.pem", tmp_path / "me.key")
    (tmp_path / "a.png").write_bytes(sign_png(png_bytes(np.zeros((9, 7, 1), np.uint8)), credentials))
    assert manifest_of(tmp_path / "a.png", authority[1])[1] == "Valid"


def test_a_timestamp_authority_that_does_not_answer_is_told_before_anything_is_drawn(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    run = config(tmp_path / "no base", tmp_path / "s", files, c2pa_timestamp="http://127.0.0.1:9/none")
    assert refusal(run).startswith("--c2pa-timestamp http://127.0.0.1:9/none: gives no timestamp")
    seal = open_seal(run)  # as of a run whose authority goes away
    with pytest.raises(ValueError, match=r"could not be signed .* same line again"):
        seal(png_bytes(np.zeros((9, 7, 1), np.uint8)))


def test_without_the_library_a_run_says_what_to_install(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)  # as Python remembers what cannot be imported
    assert 'pip install "vesalius[c2pa]"' in refusal(config(tmp_path / "no base", tmp_path / "s", files))


def test_a_plain_run_reads_no_certificate(tiny_base: Path, tmp_path: Path) -> None:
    (sample,) = draw_samples(
        GenerateConfig(prompt=PROMPTS[1:], out=tmp_path / "s", base=str(tiny_base), steps=1, json=True)
    )
    assert isinstance(sample, Sample)
    with pytest.raises(c2pa.C2paError):
        manifest_of(tmp_path / "s" / sample.file_name)
    assert not {k for k in json.loads((tmp_path / "s" / "config.json").read_text()) if k.startswith("c2pa")}


def test_credentials_do_not_show_their_key() -> None:
    assert "secret" not in repr(Credentials(chain="", key="secret", algorithm="es256"))

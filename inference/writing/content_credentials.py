"""Content Credentials (C2PA): a signed manifest inside a PNG, which says that a model drew the picture.

It holds one action, `c2pa.created`, with IPTC's source type for media of trained models and the name and version of
this software. Nothing of prompt, findings or patient is in it. The signature binds it to the very bytes of the file, so
that readers of Content Credentials find a picture that was changed afterwards.

C2PA Technical Specification 2.x, sections "Actions" and "X.509 Certificates", by the library c2pa-python. Signing is
done on this machine; the only network is a timestamp authority, where its URL is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.data.images.png import encode_png
from vesalius.inference.config import GenerateConfig

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
SINKS = ("png", "imagefolder")
"""Sinks whose files are PNGs that stay as they were signed."""
_UNKNOWN_SIGNER = "signingCredential.untrusted"
"""What a reader says of every signer that is on no list of its own; whether one is, is not for us to know."""
_PURPOSES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")
"""Extended key usages of signers: emailProtection, documentSigning, and C2PA's own claim signing. By itself the library
knows the first, and readers' lists bring theirs."""
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What pictures are signed with. chain: certificates as PEM, the signer's first. key: the signer's, as PEM (PKCS
    8). algorithm: its name in C2PA. timestamp_url: of an authority (RFC 3161); None: no timestamp."""

    chain: str
    key: str = field(repr=False)
    algorithm: str
    timestamp_url: str | None = None


def open_seal(config: GenerateConfig) -> Callable[[bytes], bytes]:
    """What a run does to the bytes of each PNG: it signs them, or returns them as they are. ValueError as
    `read_credentials`, and of what it returns, where a picture cannot be signed."""
    if config.c2pa_cert is None or config.c2pa_key is None:
        return bytes
    credentials = read_credentials(config.c2pa_cert, config.c2pa_key, config.c2pa_timestamp)

    def seal(content: bytes) -> bytes:
        try:
            return sign_png(content, credentials)
        except _library().C2paError as error:  # out of date since the run began, or a timestamp authority that is gone
            raise ValueError(
                f"{config.c2pa_cert}: a picture could not be signed ({error}); run the same line again, which keeps "
                "what is whole"
            ) from None

    return seal


def check_seal(config: GenerateConfig) -> None:
    """ValueError, before anything is drawn, where a run is to sign its pictures and cannot: a tiny one is signed and
    read back."""
    cert, key = config.c2pa_cert, config.c2pa_key
    if cert is None and key is None:
        if config.c2pa_timestamp is not None:
            raise ValueError("--c2pa-timestamp: nothing is signed; give --c2pa-cert and --c2pa-key too")
        return
    if cert is None or key is None:
        there, missing = ("--c2pa-key", "--c2pa-cert") if cert is None else ("--c2pa-cert", "--c2pa-key")
        raise ValueError(f"{there}: signing takes a certificate chain and its key; give {missing} too")
    if config.sink not in SINKS:
        raise ValueError(
            f"--c2pa-cert: Content Credentials are written into the PNG files of --sink {' and '.join(SINKS)}, "
            f"not of --sink {config.sink}; give one of those, or leave --c2pa-cert and --c2pa-key out"
        )
    credentials = read_credentials(cert, key)
    if fault := _fault(credentials):
        raise ValueError(
            f"{cert}: a picture signed with it would not be valid ({fault}); C2PA asks for a signer's certificate: key "
            "usage digitalSignature, extended key usage emailProtection, documentSigning or that of C2PA itself, and "
            "none of an authority (CA:FALSE)"
        )
    if (url := config.c2pa_timestamp) and (fault := _fault(replace(credentials, timestamp_url=url))):
        raise ValueError(f"--c2pa-timestamp {url}: gives no timestamp ({fault}); give another, or leave it out")


def _fault(credentials: Credentials) -> str:
    """Why a picture that is signed so would not be valid; "" where it is."""
    try:
        return "; ".join(faults_of(sign_png(encode_png(np.zeros((8, 8, 1), np.uint8)), credentials)))
    except _library().C2paError as error:
        return str(error)


def read_credentials(cert: Path, key: Path, timestamp_url: str | None = None) -> Credentials:
    """A certificate chain and its key from PEM files. ValueError names the file where it cannot be read, where they do
    not fit each other, and where a certificate is out of date or signed by itself."""
    _library()
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    content, secret = (_read(path) for path in (cert, key))
    try:
        chain = x509.load_pem_x509_certificates(content)
        public: Any = chain[0].public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(
            f"{cert}: holds no certificate in PEM (-----BEGIN CERTIFICATE-----); give the chain in one file, the "
            "signer's certificate first"
        ) from None
    try:
        private: Any = load_pem_private_key(secret, None)
    except TypeError:
        raise ValueError(f"{key}: is locked with a password; unlock it with `openssl pkey -in KEY -out OPEN`") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(
            f"{key}: holds no private key in PEM (-----BEGIN PRIVATE KEY-----); give the key of {cert}"
        ) from None
    name = chain[0].subject.rfc4514_string() or "no name"
    if private.public_key() != public:
        raise ValueError(
            f"{key}: is not the key of the first certificate in {cert} ({name}); give that one's, and a chain in which "
            "the signer's certificate comes first"
        )
    begins, ends, now = chain[0].not_valid_before_utc, chain[0].not_valid_after_utc, datetime.now(UTC)
    if not begins <= now <= ends:
        raise ValueError(
            f"{cert}: the certificate of {name} is valid from {begins:%Y-%m-%d} to {ends:%Y-%m-%d}, and today is "
            f"{now:%Y-%m-%d}; renew it, or set this machine's clock"
        )
    return Credentials(
        chain=content.decode("ascii", "replace"),
        key=private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        algorithm=_algorithm(private, key), timestamp_url=timestamp_url,
    )  # fmt: skip


def sign_png(content: bytes, credentials: Credentials) -> bytes:
    """The bytes of a PNG -> those of the same picture with a signed manifest.

    Pixels and text chunks stay as they are. Signatures with elliptic curves and manifests' names are random, so two
    calls differ. c2pa.C2paError where the library refuses, or the timestamp authority does not answer.
    """
    c2pa = _library()
    release = version("vesalius")
    agent = {"name": "vesalius", "version": release}
    created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": agent}
    manifest = {
        "claim_generator_info": [agent], "format": "image/png",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created], "allActionsIncluded": True}}],
    }  # fmt: skip
    info = c2pa.C2paSignerInfo(
        credentials.algorithm, credentials.chain.encode(), credentials.key.encode(), credentials.timestamp_url
    )
    signed = BytesIO()
    with c2pa.Context.from_dict(_settings()) as context, c2pa.Signer.from_info(info) as signer:
        c2pa.Builder(manifest, context=context).sign(signer, "image/png", BytesIO(content), signed)
    return signed.getvalue()


def faults_of(content: bytes) -> list[str]:
    """Why the manifest of a PNG is not valid, in the library's words; none where it is. That the signer is on no list
    of trusted ones is no fault: such a list is the reader's. c2pa.C2paError where there is no manifest."""
    c2pa = _library()
    with (
        c2pa.Context.from_dict(_settings()) as context,
        c2pa.Reader("image/png", BytesIO(content), context=context) as reader,
    ):
        results = reader.get_validation_results() or {}
    failures = results.get("activeManifest", {}).get("failure", [])
    return [f"{each['code']}: {each.get('explanation', '')}" for each in failures if each["code"] != _UNKNOWN_SIGNER]


def _settings() -> dict[str, Any]:
    """No small second picture in the manifest, and nothing asked of the network."""
    return {
        "builder": {"thumbnail": {"enabled": False}},
        "trust": {"trust_config": "\n".join(_PURPOSES)},
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False},
    }


def _library() -> Any:
    try:
        import c2pa
    except ModuleNotFoundError:
        raise ValueError('--c2pa-cert: signing needs the library c2pa-python; `pip install "vesalius[c2pa]"`') from None
    return c2pa


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); give a PEM file") from None


def _algorithm(private: Any, key: Path) -> str:
    """C2PA's name for how a key signs. ValueError where it knows none."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in _CURVES:
        return _CURVES[private.curve.name]
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= 2048:
        return "ps256"
    raise ValueError(f"{key}: C2PA signs with no such key; expected P-256, P-384, P-521, Ed25519, or RSA of 2048 bits")

"""Content Credentials (C2PA): a signature over a finished file that says a generative model made it.

With the user's own certificate and key; needs the extra `prefect-ltx[c2pa]`. Signing is the last step: any
change of the file afterwards, even a copy of its streams into a new file, breaks or drops the signature.
"""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from prefect_ltx.media import MediaError

SIGNED_TYPES: Final = ("video/mp4", "audio/mp4", "image/jpeg", "image/webp")
_CURVES: Final = {256: "es256", 384: "es384", 521: "es512"}


class SigningFailed(MediaError):
    """The certificate or the key cannot be used, or signing did not work. No file was changed."""


@dataclass(frozen=True)
class Signer:
    """Whose signature: a PEM file with the certificate chain (leaf first) and one with its private key.

    `timestamp_url` is an RFC 3161 time-stamping authority; without one the signature ends with the certificate,
    and nothing is sent anywhere.
    """

    certificate: Path
    key: Path
    timestamp_url: str | None = None

    def check(self) -> None:
        """Find out before anything is paid for whether signing can work.

        Raises:
            SigningFailed: the extra is not installed, or a file is missing or is not what it should be.
        """
        if find_spec("c2pa") is None:
            raise SigningFailed(
                "Signing is switched on and c2pa-python is not installed. Nothing was sent or spent: "
                "pip install 'prefect-ltx[c2pa]', or unset PREFECT_LTX_C2PA_CERTIFICATE."
            )
        _algorithm(_read(self.certificate, "certificate"), _read(self.key, "private key"))


def sign_file(source: Path, out: Path, *, signer: Signer, source_type: str, title: str) -> None:
    """Write a signed copy of a file: MP4, M4A, JPEG or WebP. Blocking, tens of milliseconds.

    Raises:
        SigningFailed: it cannot be signed; `out` is not left behind.
    """
    signer.check()
    import c2pa

    certificate, key = _read(signer.certificate, "certificate"), _read(signer.key, "private key")
    info = c2pa.C2paSignerInfo(
        alg=_algorithm(certificate, key),
        sign_cert=certificate,
        private_key=key,
        ta_url=signer.timestamp_url,
    )
    try:
        with (
            c2pa.Signer.from_info(info) as with_key,
            c2pa.Builder(json.dumps(_claim(source_type, title))) as builder,
        ):
            builder.sign_file(source, out, with_key)
    except c2pa.C2paError as error:
        out.unlink(missing_ok=True)
        raise SigningFailed(
            f"{source.name} could not be signed ({error}). Signing costs nothing: check the certificate and key."
        ) from error


def _claim(source_type: str, title: str) -> dict[str, Any]:
    return {
        "claim_generator_info": [{"name": "prefect-ltx"}],
        "title": title,
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": source_type}]},
            }
        ],
    }


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SigningFailed(
            f"The C2PA {what} {path} cannot be read ({error.strerror}). Nothing was sent or spent: correct its path."
        ) from error


def _algorithm(certificate: bytes, private_key: bytes) -> str:
    try:
        ours = load_pem_private_key(private_key, password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SigningFailed(
            "The C2PA private key is not a PEM key without a password. Nothing was sent or spent: give another file."
        ) from error
    try:
        key = x509.load_pem_x509_certificate(certificate).public_key()
    except ValueError as error:
        raise SigningFailed(
            "The C2PA certificate is not a PEM certificate. Nothing was sent or spent: give the chain, leaf first."
        ) from error
    if key != ours:
        raise SigningFailed(
            "The C2PA private key is not that of the certificate. Nothing was sent or spent: give the leaf's key, and "
            "the chain with the leaf first."
        )
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size in _CURVES:
        return _CURVES[key.key_size]
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPublicKey):
        return "ps256"
    raise SigningFailed(
        "The C2PA certificate's key is of a kind that C2PA does not use. Nothing was sent or spent: "
        "ECDSA (P-256, P-384, P-521), Ed25519 and RSA can sign."
    )

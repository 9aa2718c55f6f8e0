"""Saying in a file how it came to be: IPTC's digital source type always, a C2PA signature on request."""

from prefect_ltx.provenance.marking import mark_rendition
from prefect_ltx.provenance.signing import SIGNED_TYPES, Signer, SigningFailed, sign_file
from prefect_ltx.provenance.source_type import SCHEME, STAND_IN, TRAINED, comment, source_type, xmp_packet

__all__ = [
    "SCHEME",
    "SIGNED_TYPES",
    "STAND_IN",
    "TRAINED",
    "Signer",
    "SigningFailed",
    "comment",
    "mark_rendition",
    "sign_file",
    "source_type",
    "xmp_packet",
]

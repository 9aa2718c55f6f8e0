"""How a file came to be, in IPTC's words (the NewsCodes scheme `digitalsourcetype`), and the XMP that says so.

A video of the model is `trainedAlgorithmicMedia`. What the embedded server drew is `algorithmicMedia`: a
program made it, no trained model. Readers of XMP (exiftool, Adobe's and IPTC's tools, platforms that label
synthetic media) know the property `Iptc4xmpExt:DigitalSourceType`.
"""

from typing import Final

SCHEME: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED: Final = f"{SCHEME}trainedAlgorithmicMedia"
STAND_IN: Final = f"{SCHEME}algorithmicMedia"


def source_type(*, stand_in: bool) -> str:
    """The digital source type of what a generation delivered, as an IPTC address."""
    return STAND_IN if stand_in else TRAINED


def comment(kind: str) -> str:
    """The same for people and for readers that know no XMP, as the file's comment."""
    what = "Drawn by a stand-in program" if kind == STAND_IN else "Made by a generative AI model"
    return f"{what}. DigitalSourceType: {kind}"


def xmp_packet(kind: str) -> bytes:
    """An XMP packet (ISO 16684-1) with the digital source type and nothing else."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'Iptc4xmpExt:DigitalSourceType="{kind}"/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()

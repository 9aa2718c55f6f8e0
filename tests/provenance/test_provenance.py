"""Marks that other people's readers find, and streams that stay as they were."""

import datetime
import hashlib
import json
import shutil
import struct
import subprocess
from pathlib import Path

import av
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

from prefect_ltx.media import BITEXACT, Rendition, run_ffmpeg, sha256_file, source, target, verify_video
from prefect_ltx.provenance import STAND_IN, TRAINED, Signer, SigningFailed, mark_rendition, sign_file

XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def rendition(path: Path, content_type: str) -> Rendition:
    return Rendition(
        name=path.stem,
        path=path,
        content_type=content_type,
        sha256=sha256_file(path),
        size=path.stat().st_size,
    )


def packets(path: Path) -> str:
    """All streams' packets with their times: equal where nothing but metadata differs."""
    digest = hashlib.sha256()
    with av.open(str(path)) as container:
        for packet in container.demux():
            digest.update(repr((packet.stream_index, packet.pts, packet.dts, packet.duration)).encode())
            digest.update(bytes(packet))
    return digest.hexdigest()


async def copied(clip: Path, out: Path, **options: str) -> Path:
    """The clip's streams in another layout."""
    origin = source(clip)
    await run_ffmpeg(target(origin.video, origin.audio, path=out, **{"c": "copy", **BITEXACT, **options}))
    return out


@pytest.mark.parametrize("movflags", ["+faststart", "0"])
@pytest.mark.parametrize("stand_in", [True, False])
async def test_an_mp4_says_how_it_was_made(
    media_folder: Path, tmp_path: Path, movflags: str, stand_in: bool
) -> None:
    """Comment and XMP are there, whether the index is in front or behind; packets and times are unchanged."""
    video = await copied(media_folder / "clip.mp4", tmp_path / "web.mp4", movflags=movflags)
    marked = await mark_rendition(rendition(video, "video/mp4"), tmp_path / "marked", stand_in=stand_in)
    kind = STAND_IN if stand_in else TRAINED
    with av.open(str(marked.path)) as container:
        assert kind in container.metadata["comment"]
    assert XMP_BOX in marked.path.read_bytes()
    assert f'DigitalSourceType="{kind}"'.encode() in marked.path.read_bytes()
    assert packets(marked.path) == packets(video)
    assert marked.facts["digital_source_type"] == kind
    assert (marked.sha256, marked.size) == (sha256_file(marked.path), marked.path.stat().st_size)
    assert await verify_video(marked.path, frames=25, audio=True)
    again = await mark_rendition(rendition(video, "video/mp4"), tmp_path / "again", stand_in=stand_in)
    assert again.sha256 == marked.sha256


async def test_exiftool_reads_the_source_type(media_folder: Path, tmp_path: Path) -> None:
    """The reader that the field uses finds it in MP4, JPEG and WebP, and nothing to warn of."""
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed (apt-get install libimage-exiftool-perl)")
    video = await copied(media_folder / "clip.mp4", tmp_path / "web.mp4", movflags="+faststart")
    files = [rendition(video, "video/mp4"), *pictures(tmp_path)]
    for each in files:
        marked = await mark_rendition(each, tmp_path / "marked", stand_in=False)
        told = subprocess.run(
            ["exiftool", "-json", "-G1", "-XMP-iptcExt:all", "-Warning", "-Error", str(marked.path)],
            capture_output=True,
            check=True,
        )
        (facts,) = json.loads(told.stdout)
        assert facts["XMP-iptcExt:DigitalSourceType"].endswith("trainedAlgorithmicMedia"), each.name
        assert not any(name.endswith(("Warning", "Error")) for name in facts)


def pictures(folder: Path) -> list[Rendition]:
    frames = [Image.new("RGB", (32, 16), colour) for colour in ("red", "green", "blue")]
    frames[0].save(folder / "poster.jpg")
    frames[0].save(folder / "preview.webp", save_all=True, append_images=frames[1:], duration=100)
    return [
        rendition(folder / "poster.jpg", "image/jpeg"),
        rendition(folder / "preview.webp", "image/webp"),
    ]


async def test_pictures_keep_their_pixels(tmp_path: Path) -> None:
    """XMP is added beside the picture data; every frame of a preview is still there."""
    for each in pictures(tmp_path):
        marked = await mark_rendition(each, tmp_path / "marked", stand_in=False)
        with Image.open(each.path) as before, Image.open(marked.path) as after:
            assert TRAINED.encode() in (after.info.get("xmp") or b"")
            assert getattr(after, "n_frames", 1) == getattr(before, "n_frames", 1)
            assert after.convert("RGB").tobytes() == before.convert("RGB").tobytes()


async def test_nothing_moves_in_a_fragmented_mp4(media_folder: Path, tmp_path: Path) -> None:
    """Playlists point into such a file by byte ranges, so XMP is put at its end only, and it is not signed."""
    video = await copied(
        media_folder / "clip.mp4",
        tmp_path / "stream.mp4",
        movflags="frag_keyframe+empty_moov+default_base_moof",
    )
    signer = Signer(tmp_path / "none.pem", tmp_path / "none.key")
    marked = await mark_rendition(
        rendition(video, "video/mp4"), tmp_path / "marked", stand_in=False, signer=signer
    )
    assert marked.path.read_bytes().startswith(video.read_bytes())
    assert "c2pa" not in marked.facts
    assert packets(marked.path) == packets(video)


async def test_what_cannot_carry_a_mark_is_left_as_it_is(tmp_path: Path) -> None:
    """Subtitles, playlists, and an MP4 whose boxes do not add up."""
    (tmp_path / "thumbs.vtt").write_text("WEBVTT\n")
    broken = struct.pack(">I4s", 16, b"ftyp") + b"isom" + bytes(4) + struct.pack(">I4s", 500, b"moov")
    (tmp_path / "broken.mp4").write_bytes(broken)
    for name, kind in (("thumbs.vtt", "text/vtt"), ("broken.mp4", "video/mp4")):
        marked = await mark_rendition(rendition(tmp_path / name, kind), tmp_path / "marked", stand_in=False)
        assert marked.path.read_bytes() == (tmp_path / name).read_bytes()
        assert "digital_source_type" not in marked.facts


async def test_a_marked_file_is_not_marked_twice(media_folder: Path, tmp_path: Path) -> None:
    """A second pass changes nothing."""
    video = await copied(media_folder / "clip.mp4", tmp_path / "web.mp4")
    once = await mark_rendition(rendition(video, "video/mp4"), tmp_path / "once", stand_in=False)
    twice = await mark_rendition(once, tmp_path / "twice", stand_in=False)
    assert twice.sha256 == once.sha256


def certificate(folder: Path) -> Signer:
    """A CA made here and a leaf as C2PA wants it: digital signature, e-mail protection."""
    now = datetime.datetime.now(datetime.UTC)

    def name(text: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, text),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "T"),
            ]
        )

    def builder(
        subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, *, ca: bool
    ) -> x509.CertificateBuilder:
        usage = {
            "digital_signature": not ca, "content_commitment": False, "key_encipherment": False,
            "data_encipherment": False, "key_agreement": False, "key_cert_sign": ca, "crl_sign": ca,
            "encipher_only": False, "decipher_only": False,
        }  # fmt: skip
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = builder("Test CA", "Test CA", ca_key, ca=True).sign(ca_key, hashes.SHA256())
    leaf = (
        builder("Test signer", "Test CA", key, ca=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "chain.pem").write_bytes(leaf.public_bytes(pem) + ca.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Signer(folder / "chain.pem", folder / "key.pem")


async def test_a_signature_is_the_last_step_and_valid(media_folder: Path, tmp_path: Path) -> None:
    """The signed file says who made it and how, any change of it is found, and its streams are unchanged."""
    c2pa = pytest.importorskip("c2pa", reason="c2pa-python is not installed (the extra c2pa)")
    video = await copied(media_folder / "clip.mp4", tmp_path / "web.mp4", movflags="+faststart")
    for each in (rendition(video, "video/mp4"), *pictures(tmp_path)):
        signed = await mark_rendition(each, tmp_path / "signed", stand_in=False, signer=certificate(tmp_path))
        assert signed.facts["c2pa"] == "signed"
        assert signed.sha256 == sha256_file(signed.path)
        assert [path.name for path in (tmp_path / "signed").glob("signed-*")] == []
        with c2pa.Reader(signed.path) as reader:
            assert reader.get_validation_state() == "Valid"
            (actions,) = [
                each["data"]["actions"]
                for each in reader.get_active_manifest()["assertions"]
                if each["label"].startswith("c2pa.actions")
            ]
        assert (actions[0]["action"], actions[0]["digitalSourceType"]) == ("c2pa.created", TRAINED)
    # One byte of the sound or the picture later, the signature no longer holds.
    data = bytearray((tmp_path / "signed" / "web.mp4").read_bytes())
    assert packets(tmp_path / "signed" / "web.mp4") == packets(video)
    data[data.index(b"mdat") + 2000] ^= 1
    (tmp_path / "altered.mp4").write_bytes(data)
    with c2pa.Reader(tmp_path / "altered.mp4") as reader:
        assert reader.get_validation_state() == "Invalid"


def test_a_signer_that_cannot_sign_is_found_before_anything_is_paid(tmp_path: Path) -> None:
    """A missing file, something that is no certificate, a key that does not belong to it: one line each."""
    pytest.importorskip("c2pa", reason="c2pa-python is not installed (the extra c2pa)")
    good = certificate(tmp_path)
    (tmp_path / "text.pem").write_text("no certificate")
    for signer, reason in (
        (Signer(tmp_path / "gone.pem", good.key), r"certificate .*gone\.pem cannot be read"),
        (Signer(good.certificate, tmp_path / "gone.key"), r"private key .*gone\.key cannot be read"),
        (Signer(tmp_path / "text.pem", good.key), "not a PEM certificate"),
        (Signer(good.certificate, tmp_path / "text.pem"), "not a PEM key"),
    ):
        with pytest.raises(SigningFailed, match=reason) as failed:
            signer.check()
        assert "\n" not in str(failed.value)
    with pytest.raises(SigningFailed, match="not that of the certificate"):
        Signer(good.certificate, certificate(other_folder(tmp_path)).key).check()
    good.check()
    (tmp_path / "in.jpg").write_bytes(b"no picture")
    with pytest.raises(SigningFailed, match=r"in\.jpg could not be signed"):
        sign_file(tmp_path / "in.jpg", tmp_path / "out.jpg", signer=good, source_type=TRAINED, title="t")
    assert not (tmp_path / "out.jpg").exists()


def other_folder(folder: Path) -> Path:
    (folder / "other").mkdir()
    return folder / "other"

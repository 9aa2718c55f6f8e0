"""An S3 server over TLS that forgets every byte: what it costs is the same for every client.

It knows what an upload needs: HEAD, PUT, multipart, `If-None-Match`. As AWS does it answers a PUT with the checksum
that came with it (unverified here: that would cost the same for every client). Prints its port when it listens.
"""

import asyncio
import datetime
import ipaddress
import ssl
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PIECE = 1 << 18
stored: dict[str, tuple[int, dict[str, str]]] = {}
uploads: dict[str, dict[str, str]] = {}
parts: dict[str, dict[str, int]] = {}


def certificate(folder: Path) -> Path:
    """Write a certificate for 127.0.0.1 with its key; clients trust the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(made.public_bytes(pem))
    both = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(both + made.public_bytes(pem))
    return folder / "ca.pem"


async def body(reader: asyncio.StreamReader, headers: dict[str, str]) -> tuple[int, bytes]:
    """Read a body and forget it; its length, and its beginning for the few that matter."""
    head, length = b"", 0

    async def skip(count: int) -> None:
        nonlocal head, length
        while count:
            piece = await reader.read(min(count, PIECE))
            if not piece:
                raise ConnectionError
            head, length, count = head or piece, length + len(piece), count - len(piece)

    if headers.get("transfer-encoding", "").lower() == "chunked":
        while count := int((await reader.readline()).split(b";")[0], 16):
            await skip(count)
            await reader.readexactly(2)
        while (await reader.readline()).strip():
            pass
    else:
        await skip(int(headers.get("content-length", "0")))
    return int(headers.get("x-amz-decoded-content-length", length)), head


def answer(method: str, target: str, headers: dict[str, str], size: int) -> tuple[int, dict[str, str], str]:
    url = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    key, etag = url.path, {"ETag": '"etag"'}
    meta = {name: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
    if method in ("HEAD", "GET"):
        if key not in stored:
            return 404, {}, ""
        return 200, {**etag, **stored[key][1], "Content-Length": str(stored[key][0])}, ""
    if method == "POST" and "uploads" in query:
        name = f"upload{len(uploads)}"
        uploads[name], parts[name] = meta, {}
        return (
            200,
            {},
            f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>",
        )
    if method == "PUT" and "partNumber" in query:
        parts[query["uploadId"]][query["partNumber"]] = size
        return 200, etag, ""
    if method == "POST" and "uploadId" in query:
        stored[key] = (sum(parts[query["uploadId"]].values()), uploads[query["uploadId"]])
        return 200, {}, '<CompleteMultipartUploadResult><ETag>"etag"</ETag></CompleteMultipartUploadResult>'
    if method == "PUT":
        if headers.get("if-none-match") == "*" and key in stored:
            return 412, {}, "<Error><Code>PreconditionFailed</Code></Error>"
        stored[key] = (size, meta)
        checksums = {name: value for name, value in headers.items() if name.startswith("x-amz-checksum-")}
        return 200, etag | checksums, ""
    return 204, {}, ""


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            method, target, _ = line.decode().split(" ", 2)
            headers = {}
            while (each := (await reader.readline()).decode().strip()) != "":
                name, _, value = each.partition(":")
                headers[name.lower()] = value.strip()
            if headers.get("expect"):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            size, _ = await body(reader, headers)
            status, more, text = answer(method, target, headers, size)
            more = {"Content-Length": str(len(text)), "Content-Type": "application/xml", **more}
            lines = "".join(f"{name}: {value}\r\n" for name, value in more.items())
            writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n{text}".encode())
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def main(folder: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

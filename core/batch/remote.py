"""The bytes of a request file in a bucket; S3 and its credentials are those of the environment, as for media."""

from typing import Any

from prefect_ltx.batch.problems import BatchInvalid, Problem


def text_from_s3(url: str, most: int) -> bytes:
    """The object at `s3://bucket/key`, at most `most` bytes of it.

    Raises:
        BatchInvalid: it cannot be read, or is larger. Nothing was sent or spent.
    """
    import s3fs  # 0.3 s of imports that only s3:// sources need

    files: Any = s3fs.S3FileSystem(use_listings_cache=False)
    try:
        # One more than is taken: an object that grew since it was listed must not fill the memory.
        data: bytes = files.cat_file(url, start=0, end=most + 1)
    except FileNotFoundError:
        raise _unreadable(url, "there is no such object") from None
    except Exception as error:  # s3fs lets errors of botocore and aiohttp through
        raise _unreadable(url, f"S3 does not give it ({type(error).__name__})") from None
    if len(data) > most:
        raise _unreadable(url, f"it is larger than {most >> 20} MB")
    return data


def _unreadable(url: str, why: str) -> BatchInvalid:
    return BatchInvalid(url.rpartition("/")[2] or url, [Problem("file", "", f"cannot read {url}: {why}")])

"""Ids as fal makes them: request ids are UUIDs of version 7, so an id carries its submit time (fal-protocol
§1.2)."""

from uuid import UUID

from prefect_ltx.runtime import Runtime


def new_request_id(now: float, runtime: Runtime) -> str:
    """A UUIDv7 in its usual text form; its first 48 bits are `now` (unix seconds) in milliseconds."""
    milliseconds = int(now * 1000)
    value = (milliseconds & (1 << 48) - 1) << 80 | runtime.random.getrandbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return str(UUID(int=value))


def random_name(runtime: Runtime, length: int = 20) -> str:
    """A name nobody can guess, for the path of a stored file."""
    alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"
    return "".join(runtime.random.choice(alphabet) for _ in range(length))

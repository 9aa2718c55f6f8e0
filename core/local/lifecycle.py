"""How long a file lives: fal's lifecycle headers, `{"expiration_duration_seconds": n}` (fal-protocol
§3.1)."""

import json


def lifetime_of(*headers: str | None) -> float | None:
    """Seconds from the first of these header values that names a lifetime; None: for as long as the
    folder."""
    for value in headers:
        try:
            wish = json.loads(value or "null")
        except ValueError:
            continue
        seconds = wish.get("expiration_duration_seconds") if isinstance(wish, dict) else None
        if isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0:
            return float(seconds)
    return None

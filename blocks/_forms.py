"""What the forms of blocks have in common: this project's pages, a logo, and fields that a person can simply fill in.

Prefect's form makes tabs of a field that may be text or nothing, and opens it as None. Here such a field is plain text
to the form, and empty means what None means.
"""

from decimal import Decimal
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, Field, HttpUrl, SecretStr, WithJsonSchema
from pydantic.config import JsonDict

SITE: Final = "https://prefect-ltx.readthedocs.io/en/latest/"
LOGO: Final = HttpUrl(f"{SITE}logo.png")


EMPTY: Final[JsonDict] = {"default": ""}
"""What the form opens an optional text with; pydantic's own default, None, is shown as the word."""


def page(name: str) -> HttpUrl:
    """A page of this project's documentation."""
    return HttpUrl(f"{SITE}{name}/")


def _empty_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


Text: TypeAlias = Annotated[str | None, BeforeValidator(_empty_is_none), WithJsonSchema({"type": "string"})]
WebAddress: TypeAlias = Annotated[
    str | None,
    BeforeValidator(_empty_is_none),
    WithJsonSchema({"type": "string", "default": "", "pattern": r"^(https?://\S+)?$"}),
]
Secret: TypeAlias = Annotated[
    SecretStr | None,
    BeforeValidator(_empty_is_none),
    WithJsonSchema({"type": "string", "format": "password", "writeOnly": True}),
]
Number: TypeAlias = Annotated[
    float | None, BeforeValidator(_empty_is_none), WithJsonSchema({"type": "number", "minimum": 0})
]
Dollars: TypeAlias = Annotated[Decimal, Field(ge=0), WithJsonSchema({"type": "number", "minimum": 0})]
OptionalDollars: TypeAlias = Annotated[
    Decimal | None, BeforeValidator(_empty_is_none), WithJsonSchema({"type": "number", "minimum": 0})
]


def one_of(*values: str) -> tuple[BeforeValidator, WithJsonSchema]:
    """What makes a field of these texts or None a plain select, whose first entry is empty."""
    return BeforeValidator(_empty_is_none), WithJsonSchema({"type": "string", "enum": ["", *values]})


def whole(least: int, most: int) -> tuple[BeforeValidator, WithJsonSchema]:
    """What makes a field of a whole number or None a plain number."""
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return BeforeValidator(_empty_is_none), WithJsonSchema(schema)

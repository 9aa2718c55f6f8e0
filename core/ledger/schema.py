"""The ledger's tables, schema version 5. A change here needs a migration and a new version.

Money is integer nano-dollars, times are Unix seconds, and exact decimals are text: every database keeps those
alike. Times are the ledger's own, but for three by fal's clock: `fal_since`, `first_look_at` and `gone_at`.
"""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    false,
)

SCHEMA_VERSION: Final = 5
APPLICATION: Final = "prefect-ltx-ledger"

metadata: Final = MetaData()

meta: Final = Table(
    "ltx_meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

generation: Final = Table(
    "ltx_generation",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("key", String(200), nullable=False, index=True),
    Column("seedless_key", String(200), nullable=False, index=True),
    Column("endpoint", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("body", JSON, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("seed_drawn", Boolean, nullable=False),
    Column("flow_run_id", String(64), index=True),
    Column("tags", JSON, nullable=False),
    Column("asked", JSON, nullable=False),
    Column("nonce", String(64), nullable=False, unique=True),
    Column("state", String(20), nullable=False, index=True),
    # Says the same as `state`, in a form that a unique partial index takes on every database.
    Column("live", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("post_may_have_left", Boolean, nullable=False),
    Column("begun_attempt", Integer, nullable=False),
    Column("request_id", String(200), index=True),
    Column("cancel", String(20), nullable=False),
    Column("cancel_by", Text),
    Column("reason", Text),
    Column("price_expected_nano", BigInteger, nullable=False),
    Column("price_upper_nano", BigInteger, nullable=False),
    Column("held_nano", BigInteger, nullable=False),
    Column("settled_nano", BigInteger),
    Column("settled_by", String(20)),
    Column("billed", String(10)),
    Column("units", Text),
    Column("owner", Text),
    Column("lease_until", Double),
    Column("created_at", Double, nullable=False, index=True),
    Column("created_day", String(10), nullable=False),
    Column("posted_at", Double, nullable=False),
    Column("unknown_at", Double),
    Column("submitted_at", Double),
    Column("completed_at", Double),
    Column("collected_at", Double),
    Column("closed_at", Double),
    Column("updated_at", Double, nullable=False),
    Column("video_url", Text),
    Column("delivered_seed", BigInteger),
    Column("prompt_expanded", Text),
    Column("file_size", BigInteger),
    Column("video_seen", Boolean, nullable=False),
    Column("sha256", String(64)),
    Column("size", BigInteger),
    Column("path", Text),
    Column("facts", JSON, nullable=False),
    Column("location", Text),
    Column("folder", Text),
    Column("manifest_sha256", String(64)),
    # Version 2, in the order in which the migration adds them. Empty in rows that version 1 wrote.
    Column("service", String(200), nullable=False, server_default=""),
    Column("fal_since", Double),
    Column("first_look_at", Double),
    Column("gone_at", Double),
    Column("looks", Integer, nullable=False, server_default="0"),
    Column("look_again_at", Double),
    Column("oddities", JSON, nullable=False, server_default="[]"),
    Column("refused_for_good", Boolean, nullable=False, server_default=false()),
)

Index(
    "ux_ltx_generation_live_key",
    generation.c.key,
    unique=True,
    sqlite_where=generation.c.live == 1,
    postgresql_where=generation.c.live == 1,
)

tag: Final = Table(
    "ltx_tag",
    metadata,
    Column("generation_id", ForeignKey(generation.c.id), primary_key=True),
    Column("tag", String(200), primary_key=True, index=True),
)

event: Final = Table(
    "ltx_event",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("generation_id", ForeignKey(generation.c.id), nullable=False, index=True),
    Column("at", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("event", String(40), nullable=False),
    Column("detail", JSON, nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("from_state", String(20), nullable=False),
    Column("to_state", String(20), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("effects", JSON, nullable=False),
    Column("because", Text, nullable=False),
)

stray: Final = Table(
    "ltx_stray",
    metadata,
    Column("request_id", String(200), primary_key=True),
    Column("key", String(200), primary_key=True, index=True),
    Column("endpoint", Text, nullable=False),
    Column("generation_id", ForeignKey(generation.c.id), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("noticed_at", Double, nullable=False),
    Column("adopted_by", ForeignKey(generation.c.id)),
)

upload: Final = Table(
    "ltx_upload",
    metadata,
    Column("account", String(200), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("url", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("saved_at", Double, nullable=False),
    Column("expires_at", Double),
)

account: Final = Table(
    "ltx_account",
    metadata,
    # An account of a service, by each key that was used for it: a rotated key is another line of the same account.
    Column("key_id", String(200), primary_key=True),
    Column("service", String(200), primary_key=True),
    Column("account", Text, nullable=False),
    Column("name", Text),
    Column("named_by", String(10), nullable=False),
    Column("first_seen", Double, nullable=False),
    Column("last_seen", Double, nullable=False),
)

stop: Final = Table(
    "ltx_stop",
    metadata,
    # A bill far beyond its bound: nothing is bought until a person has looked at it.
    Column("id", String(36), primary_key=True),
    Column("generation_id", ForeignKey(generation.c.id), nullable=False, index=True),
    Column("request_id", String(200)),
    Column("billed_nano", BigInteger, nullable=False),
    Column("upper_nano", BigInteger, nullable=False),
    Column("factor", Text, nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("resolved_at", Double, index=True),
    Column("resolved_by", Text),
)

# On PostgreSQL more than 64 bits: a sum must never be what stands in the way of a bill.
_SUM: Final = BigInteger().with_variant(Numeric(40, 0), "postgresql")

sum_: Final = Table(
    "ltx_sum",
    metadata,
    # What budgets count, kept by triggers (`sums`).
    Column("name", String(201), primary_key=True),
    Column("period", String(10), primary_key=True),
    Column("start", String(10), primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("held_nano", _SUM, nullable=False),
    Column("settled_nano", _SUM, nullable=False),
)

approval: Final = Table(
    "ltx_approval",
    metadata,
    # A person's yes to a plan, up to an amount and until a time.
    Column("id", String(36), primary_key=True),
    Column("plan", String(64), nullable=False, index=True),
    Column("title", Text, nullable=False),
    Column("at_most_nano", BigInteger, nullable=False),
    Column("approved_by", Text, nullable=False),
    Column("approved_at", Double, nullable=False),
    Column("valid_until", Double, nullable=False),
)

verdict: Final = Table(
    "ltx_verdict",
    metadata,
    # Whether a clip can be used, in the words of quality control, a judge or a person.
    Column("id", String(36), primary_key=True),
    Column("generation_id", ForeignKey(generation.c.id), nullable=False, index=True),
    Column("word", String(20), nullable=False),
    Column("source", String(10), nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("said_at", Double, nullable=False),
    Column("noted_at", Double, nullable=False),
)

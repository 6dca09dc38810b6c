"""The SQL of the store: one statement per `.sql` file, loaded when this package is imported.

Owns the text and its placeholders; knows nothing of connections. The operations and
`schema.py` ask for statements by file name. A name without a file fails at import.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

DataType = Literal["bytea", "jsonb"]

NAMES = (
    "allow_hard_deletes",
    "append_combined",
    "append_events",
    "append_many",
    "begin_epoch",
    "clear_halt",
    "create_schema",
    "create_subscription",
    "decide_parked_events",
    "delete_snapshot",
    "delete_subscription",
    "delete_unowned_subscription",
    "done_events",
    "drop",
    "due_parked_events",
    "event_time",
    "fence_owner",
    "get_subscription",
    "hard_delete_stream",
    "init_lock",
    "inspect_schema",
    "known_event_ids",
    "link_events",
    "list_attempts",
    "list_parked_events",
    "list_subscriptions",
    "lock_stream",
    "migration_lock",
    "migrations",
    "notify",
    "notify_events",
    "page_all",
    "page_bounded",
    "page_filtered",
    "page_stream",
    "paginate_streams",
    "park_events",
    "parked_numbers",
    "parked_partitions",
    "read_backward",
    "read_forward",
    "read_snapshot",
    "record_done_events",
    "record_migration",
    "record_snapshot",
    "release_owner",
    "reset_subscription",
    "runtime_schema",
    "runtime_version",
    "save_attempts",
    "save_checkpoint",
    "save_halt",
    "schema",
    "schema_version",
    "set_paused",
    "skip_event",
    "soft_delete_stream",
    "stream_heads",
    "stream_info",
    "subscription_lags",
    "subscription_terms",
    "try_locks",
    "unlock",
    "unpark_events",
)

# Values travel as bytes in both directions, so that only the statement knows which type the columns have.
# `stored` tells a size without reading a value of many pages: exactly for bytea, by an estimate for jsonb, whose text
# has no stored length. `exact` mends the estimate, and is asked for values only that `stored` calls small.
_COLUMNS: Mapping[DataType, Mapping[str, str]] = MappingProxyType(
    {
        "bytea": {
            "data": "e.data",
            "metadata": "e.metadata",
            "as_json": '"{schema}".runtime_json(e.data)',
            "stored": "octet_length(e.data) + coalesce(octet_length(e.metadata), 0)",
            "exact": "0",
            "new_data": "n.data",
            "new_metadata": "n.metadata",
        },
        "jsonb": {
            "data": "convert_to(e.data::text, 'UTF8')",
            "metadata": "convert_to(e.metadata::text, 'UTF8')",
            "as_json": "e.data",
            "stored": "pg_column_size(e.data) * case when pg_column_compression(e.data) is null then 1 else 4 end"
            " + coalesce(pg_column_size(e.metadata), 0)",
            "exact": "case when coalesce(pg_column_compression(e.data), pg_column_compression(e.metadata)) is null"
            " then 2 * (pg_column_size(e.data) + coalesce(pg_column_size(e.metadata), 0))"
            " else octet_length(e.data::text) + coalesce(octet_length(e.metadata::text), 0) end",
            "new_data": "convert_from(n.data, 'UTF8')::jsonb",
            # As commanded/eventstore stores it, whose driver decodes jsonb: null as SQL's.
            "new_metadata": "nullif(convert_from(n.metadata, 'UTF8')::jsonb, 'null')",
        },
    }
)
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_TEMPLATES = {name: files(__name__).joinpath(f"{name}.sql").read_text("utf-8").rstrip() for name in NAMES}


class Statements(Mapping[str, str]):
    """Every statement, written for one schema and one column type.

    Args:
        schema: The schema's name as PostgreSQL knows it; quotes in it are escaped here.
        data_type: The type of the `data` and `metadata` columns, "bytea" or "jsonb".
    """

    __slots__ = ("_texts", "data_type", "schema")

    def __init__(self, schema: str, data_type: DataType = "bytea") -> None:
        self.schema = schema
        self.data_type = data_type
        quoted = schema.replace('"', '""')
        values = {
            "schema": quoted,
            "schema_literal": schema.replace("'", "''"),
            "data_type": data_type,
            **{name: text.replace("{schema}", quoted) for name, text in _COLUMNS[data_type].items()},
        }
        # One pass, so that a schema name which looks like a placeholder stays what it is.
        self._texts = {
            name: _PLACEHOLDER.sub(lambda match: values[match[1]], text) for name, text in _TEMPLATES.items()
        }

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

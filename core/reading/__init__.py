"""What people write, read strictly: requests, batches, storyboards, recipes, defaults and settings.

One layer for all of them: texts are UTF-8, no name is there twice, numbers and texts can be kept and sent, and size,
depth and work are bounded. Harmless habits are understood, everything else is a problem with its place and remedy.
"""

from prefect_ltx.reading.document import Document
from prefect_ltx.reading.json_text import read_json
from prefect_ltx.reading.problems import Fault, Path, Place, Problem, Unreadable
from prefect_ltx.reading.sources import (
    Source,
    is_file,
    is_local,
    local_path,
    placed,
    read_bytes,
    scheme_of,
    why_no_media,
)
from prefect_ltx.reading.tables import Table, TableRow, normalised, read_table
from prefect_ltx.reading.texts import MOST_BYTES, text_of
from prefect_ltx.reading.workbook import read_workbook
from prefect_ltx.reading.yaml_text import read_yaml

__all__ = [
    "MOST_BYTES",
    "Document",
    "Fault",
    "Path",
    "Place",
    "Problem",
    "Source",
    "Table",
    "TableRow",
    "Unreadable",
    "is_file",
    "is_local",
    "local_path",
    "normalised",
    "placed",
    "read_bytes",
    "read_json",
    "read_table",
    "read_workbook",
    "read_yaml",
    "scheme_of",
    "text_of",
    "why_no_media",
]

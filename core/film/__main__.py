"""`python -m prefect_ltx.film > docs/storyboard.schema.json`: the schema that editors read."""

import json
import sys

from prefect_ltx.film.storyboard import storyboard_schema

sys.stdout.write(json.dumps(storyboard_schema(), indent=2, ensure_ascii=False) + "\n")

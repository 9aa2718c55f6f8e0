"""One run of the batch flow in a process of its own, which kills itself after so many seconds of work.

usage: python batch_child.py BATCH.json [SECONDS]      (counted from the first row's intent)
"""

import asyncio
import sys
import threading

from child import kill_self

from prefect_ltx.flows import generate_batch
from prefect_ltx.generation import Progress, observe


def main() -> None:
    begun = threading.Event()

    def look(progress: Progress) -> None:
        if len(sys.argv) > 2 and progress.stage == "before-intent" and not begun.is_set():
            begun.set()
            threading.Timer(float(sys.argv[2]), kill_self).start()

    with observe(look):
        report = asyncio.run(
            generate_batch(sys.argv[1], concurrency=4, recipe="none", name="kill", task_run_per_row_up_to=0)
        )
    for row in report.rows:
        if not row.ok:
            print(row.row, row.status, row.reason, file=sys.stderr)
    sys.exit(0 if report.ok else 3)


if __name__ == "__main__":
    main()

#!/bin/sh
# A process worker on this machine: deploys everything (which changes nothing the second time), then runs flows until
# it is stopped. It needs prefect-ltx installed, and in its environment PREFECT_API_URL and what the runs use: FAL_KEY,
# PREFECT_LTX_LEDGER, PREFECT_LTX_ARCHIVE, PREFECT_LTX_BUDGET_USD. POOL and LIMIT (runs at once here) may be given too.
set -eu
: "${PREFECT_API_URL:?set it to the Prefect server, such as http://127.0.0.1:4200/api}"
prefect-ltx deploy --pool "${POOL:-ltx}"
exec prefect worker start --pool "${POOL:-ltx}" --type process --limit "${LIMIT:-10}"

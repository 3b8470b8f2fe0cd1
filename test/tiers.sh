#!/usr/bin/env bash
# Runs all tiers. Tests with servers leave part of two cores idle, so the tiers without servers run beside them, at a
# lower priority. What those have printed comes at the end.
set -uo pipefail
log=$(mktemp)
nice -n 10 npm run --silent coverage >"$log" 2>&1 &
beside=$!
trap 'kill "$beside" 2>/dev/null' INT TERM
trap 'rm -f "$log"' EXIT
code=0
npx vitest run --project servers --project system || code=$?
wait "$beside" || code=$?
cat "$log"
exit "$code"

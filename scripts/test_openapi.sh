#!/usr/bin/env bash
# Tests running services against their own descriptions with schemathesis, which
# is installed below .local on first use.
#   scripts/test_openapi.sh URL...
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/servers/packages.sh
. "$ROOT/scripts/servers/packages.sh"

# A moved environment has its old path in its scripts, not in its packages.
run_schemathesis() { "$VENV/bin/python" -m schemathesis.cli "$@"; }

(($# > 0)) || { echo "usage: scripts/test_openapi.sh URL..." >&2 && exit 2; }
python_environment schemathesis "$ROOT/scripts/openapi/requirements.txt"
# It leaves notes of what it found where it runs.
cd "$LOCAL_DIR"
export SCHEMATHESIS_HOOKS="$ROOT/scripts/openapi/hooks.py" PYTHONDONTWRITEBYTECODE=1
for url in "$@"; do
    # The same requests each time: a new one that fails is found by hand, not by chance in CI.
    run_schemathesis --config-file "$ROOT/scripts/openapi/schemathesis.toml" \
        run "$url/openapi.json" --seed "${SCHEMATHESIS_SEED:-1}" --max-examples "${EXAMPLES:-15}" \
        --request-timeout 120 --suppress-health-check too_slow --continue-on-failure --no-color
done

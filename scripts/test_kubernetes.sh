#!/usr/bin/env bash
# Renders every overlay of deploy/kubernetes and checks it against the API's schemas, which come from PyPI and are
# installed below .local on first use. Skips, and says so, where there is no kubectl or kustomize.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/servers/packages.sh
. "$ROOT/scripts/servers/packages.sh"

if command -v kustomize >/dev/null; then
    render() { kustomize build "$1"; }
elif command -v kubectl >/dev/null; then
    render() { kubectl kustomize "$1"; }
else
    say "skipped: neither kubectl nor kustomize is installed"
    exit
fi
python_environment kubernetes "$ROOT/scripts/kubernetes/requirements.txt"
rendered=()
for overlay in "$ROOT"/deploy/kubernetes/overlays/*/; do
    rendered+=("$LOCAL_DIR/kubernetes-$(basename "$overlay").yaml")
    render "$overlay" >"${rendered[-1]}"
done
"$VENV/bin/python" "$ROOT/scripts/kubernetes/check.py" "$ROOT/.env_template" "${rendered[@]}"

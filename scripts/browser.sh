#!/usr/bin/env bash
# Installs the browser that the tests of the dashboard drive. Quick when it is there.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/servers/packages.sh
. "$ROOT/scripts/servers/packages.sh"

missing=()
command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
command -v chromedriver >/dev/null || missing+=(chromium-driver)
((${#missing[@]} == 0)) || install_packages "needed to test the dashboard" "${missing[@]}"

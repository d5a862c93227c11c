#!/usr/bin/env bash
# Runs a command with the settings of .env, their defaults and the addresses of
# the local servers in its environment:  scripts/with_env.sh cargo test
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
export_service_env
exec "$@"

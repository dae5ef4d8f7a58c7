#!/usr/bin/env bash
# Runs the tests; makes the environment first if needed. Arguments go to pytest:
#   bash tools/test.sh -k config
set -euo pipefail

# shellcheck source=tools/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$project"
exec "$PYTHON" -m pytest "$@"

#!/usr/bin/env bash
# Runs the tests, several files at a time; makes the environment first if needed. Arguments go to pytest:
#   bash tools/test.sh -k config
set -euo pipefail

# shellcheck source=tools/ike_tools/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/ike_tools/environment.sh"
cd "$project"
# A file's tests stay together: some share what takes half a minute to make.
exec "$PYTHON" -m pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile "$@"

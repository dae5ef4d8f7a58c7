#!/usr/bin/env bash
# Checks the code without running it: ruff (rules and format), mypy, and shellcheck where it is
# installed. Makes the environment first if needed.
set -euo pipefail

# shellcheck source=tools/ike_tools/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/ike_tools/environment.sh"
cd "$project"
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
"$PYTHON" -m mypy ./*.py ike_data graph_module network_module RAFT tools/*.py tools/ike_tools
if command -v shellcheck >/dev/null; then
  shellcheck -x .ci/run tools/*.sh tools/ike_tools/*.sh tools/*.sbatch tests/*/*.sh
else
  echo "no shellcheck here: the shell scripts are not checked"
fi

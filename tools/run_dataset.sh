#!/usr/bin/env bash
# tools/run_video.sh for every sequence of a data set, with several workers, GPUs or machines.
#   bash tools/run_dataset.sh ROOT OUT [flags; --help names them]
#   bash tools/run_dataset.sh --help    explains every flag
# Makes the environment first if needed. What is done is skipped.
set -euo pipefail

# shellcheck source=tools/ike_tools/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/ike_tools/environment.sh"
exec "$PYTHON" "$project/tools/run_dataset.py" "$@"

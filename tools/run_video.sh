#!/usr/bin/env bash
# The whole exchange on one video: optical flow, then graph and network for each cycle, until the
# masks stop changing.
#   bash tools/run_video.sh FRAMES_OR_VIDEO OUT [--cycles N] [--config C] [--method dis | --models W]
#   bash tools/run_video.sh --help      explains every flag
# Makes the environment first if needed. Started again it goes on after the last finished step.
set -euo pipefail

# shellcheck source=tools/ike_tools/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/ike_tools/environment.sh"
exec "$PYTHON" "$project/tools/run_video.py" "$@"

#!/usr/bin/env bash
# The whole system on a small synthetic video: optical flow, then graph and network for two cycles, and a
# last graph. Pictures, a video and a report of it are in OUT/final.
#   bash tools/demo.sh [OUT]      OUT is demo_output in the project if it is left out
# Makes the environment first if needed. Nothing else is downloaded.
set -euo pipefail

# shellcheck source=tools/ike_tools/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/ike_tools/environment.sh"
out=${1:-$project/demo_output}
mkdir -p -- "$out"
out=$(cd -- "$out" && pwd)
cd "$project"

# Prints a command as a user would type it, then runs it.
run() {
  printf '\n$ %s\n' "${*/#$PYTHON/python}"
  "$@"
}

if [ ! -d "$out/video" ]; then
  run "$PYTHON" tools/make_synthetic_video.py --out_path="$out/video"
fi
# The settings of config.ini, at a size and with a training small enough for two processor cores.
sed -e 's/^working_h = .*/working_h = 120/' -e 's/^working_w = .*/working_w = 216/' \
  -e 's/^base_channels = .*/base_channels = 8/' \
  config.ini >"$out/demo.ini"
run "$PYTHON" tools/run_video.py "$out/video/frames" "$out" --method dis --cycles 2 \
  --config "$out/demo.ini" --annotations "$out/video/annotations"
run "$PYTHON" tools/evaluate.py --annotations="$out/video/annotations" --out_path="$out/scores.csv" \
  --results "$out" --stage graph_1/iter_19 net_1/results_pt/epoch_00005 \
  graph_2/iter_19 net_2/results_pt/epoch_00005 final/masks

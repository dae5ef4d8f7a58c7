#!/usr/bin/env bash
# The whole system on a small synthetic video: optical flow, then graph and network for two cycles.
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
frames=$out/video/frames

run "$PYTHON" extract_optical_flow.py --frames_path="$frames" --out_path="$out/flow" --method=dis

# Cycle 1: the graph sees motion alone, and the network learns from its masks.
run "$PYTHON" run_graph_module.py --frames_path="$frames" --of_path="$out/flow" \
  --out_path="$out/graph_1" --config=tools/demo.ini
run "$PYTHON" main.py --frames_path="$frames" --pseudo_gt_path="$out/graph_1/iter_19" \
  --out_path="$out/net_1" --config=tools/demo.ini

# Cycle 2: the network's masks are features of the graph's nodes.
# Paths in a config.ini are relative to it.
sed "s|^;ike_features_paths =|ike_features_paths = net_1/results_pt/epoch_00010|" \
  tools/demo.ini >"$out/cycle_2.ini"
run "$PYTHON" run_graph_module.py --frames_path="$frames" --of_path="$out/flow" \
  --out_path="$out/graph_2" --config="$out/cycle_2.ini"
run "$PYTHON" main.py --frames_path="$frames" --pseudo_gt_path="$out/graph_2/iter_19" \
  --out_path="$out/net_2" --config="$out/cycle_2.ini"

run "$PYTHON" tools/evaluate.py --annotations="$out/video/annotations" --out="$out/scores.csv" \
  --results "$out/graph_1/iter_19" "$out/net_1/results_pt/epoch_00010" \
  "$out/graph_2/iter_19" "$out/net_2/results_pt/epoch_00010"
run "$PYTHON" tools/visualize.py --frames="$frames" --results="$out" \
  --annotations="$out/video/annotations" --out="$out/pictures" --report

#!/usr/bin/env bash
# What each departure of config.ini from the paper's setting does to the graph module's masks: J, F and
# time of every variant on a data set with annotations, the table of docs/extensions.md.
#   bash tools/ablation.sh DAVIS OUT      DAVIS has JPEGImages/480p and Annotations/480p
# Makes the environment first if needed. What is done is not done again; after a change of the code or
# of a variant give a new OUT.
set -euo pipefail

# shellcheck source=tools/ike_tools/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/ike_tools/environment.sh"
if [ $# != 2 ] || [ ! -d "$1/JPEGImages/480p" ] || [ ! -d "$1/Annotations/480p" ]; then
  echo "error: give a folder with JPEGImages/480p and Annotations/480p, and a folder for the results" >&2
  exit 2
fi
davis=$(cd -- "$1" && pwd)
mkdir -p -- "$2"
out=$(cd -- "$2" && pwd)
cd "$project"

names=()
# Writes OUT/NAME.ini: the paper's settings, but for the KEY=VALUE given.
variant() { # NAME KEY=VALUE...
  names+=("$1")
  local edits=(-e "s/^to_save_iterations = .*/to_save_iterations = 19/") change
  for change in "${@:2}"; do
    edits+=(-e "s/^${change%%=*} = .*/${change%%=*} = ${change#*=}/")
  done
  sed "${edits[@]}" configs/paper.ini >"$out/$1.ini"
}
saliency=(dir_features_half_chain_size=-1 motion_saliency=yes)
variant paper
variant saliency_beside_directions motion_saliency=yes
variant saliency "${saliency[@]}"
variant appearance bootstrap_passes=2
variant saliency_appearance_1 "${saliency[@]}" bootstrap_passes=1
variant saliency_appearance_2 "${saliency[@]}" bootstrap_passes=2
variant refinement refinement=yes
variant degree_normalisation "${saliency[@]}" bootstrap_passes=2 degree_normalisation=yes
variant all "${saliency[@]}" bootstrap_passes=2 degree_normalisation=yes refinement=yes
# What the motion prior does: saliency alone, prior alone, and both, which is config.ini.
rest=(dir_features_half_chain_size=-1 bootstrap_passes=1 degree_normalisation=yes refinement=yes coarse_graph=yes)
variant coarse_saliency "${rest[@]}" motion_saliency=yes
variant coarse_prior "${rest[@]}" motion_prior=yes
variant coarse_both "${rest[@]}" motion_saliency=yes motion_prior=yes

for frames in "$davis"/JPEGImages/480p/*/; do
  sequence=$(basename "$frames")
  "$PYTHON" extract_optical_flow.py --frames_path="$frames" --out_path="$out/flow/$sequence" --method=dis
  for name in "${names[@]}"; do
    result=$out/$name/$sequence
    if [ ! -d "$result/iter_19_images" ]; then
      "$PYTHON" run_graph_module.py --frames_path="$frames" --of_path="$out/flow/$sequence" \
        --out_path="$result" --config="$out/$name.ini"
    fi
  done
done

"$PYTHON" tools/evaluate.py --annotations="$davis/Annotations/480p" --stage iter_19 \
  --out_path="$out/scores.csv" --results "${names[@]/#/$out/}"
for name in "${names[@]}"; do
  # The last line of a log ends with the seconds of the whole run.
  printf '%s: %s s of the graph module for all sequences\n' "$name" \
    "$(tail -q -n 1 "$out/$name"/*/log.csv | awk -F, '{ total += $NF } END { print total }')"
done

#!/usr/bin/env bash
# Runs the tests with the oldest release of each package that requirements.txt admits, and with the oldest
# Python where it is installed. They get an environment of their own, which takes about 6 GB:
#   bash tools/test_oldest.sh FOLDER [arguments for pytest]
set -euo pipefail

if [ $# = 0 ]; then
  echo "error: give a folder for the environment: bash tools/test_oldest.sh FOLDER" >&2
  exit 2
fi
folder=$1
shift
oldest=$folder/oldest-requirements.txt
# It would get these releases, too.
if [ -e "$folder" ] && [ ! -f "$oldest" ]; then
  echo "error: $folder: is there already, and not from this tool; name a new folder" >&2
  exit 2
fi
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ ! -f "$oldest" ]; then
  python3.10 -m venv "$folder" 2>/dev/null || python3 -m venv "$folder"
fi
sed 's/>=/==/' "$project/requirements.txt" >"$oldest"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$oldest"
export IKE_VENV=$folder
exec bash "$project/tools/test.sh" "$@"

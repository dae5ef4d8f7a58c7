# shellcheck shell=bash
# Sourced by the shell tools: makes the Python environment if needed and sets $PYTHON.
# IKE_VENV names another folder than .venv in the project.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${IKE_VENV:-$project/.venv}
PYTHON=$venv/bin/python

# A copy of requirements.txt inside the environment says what is installed there.
if ! cmp -s "$project/requirements.txt" "$venv/installed-requirements.txt"; then
  if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "error: python3 is $(python3 --version 2>&1); Python 3.10 or newer is needed" >&2
    exit 2
  fi
  echo "installing requirements.txt into $venv (PyTorch is large: several minutes, about 6 GB)"
  [ -x "$PYTHON" ] || python3 -m venv "$venv"
  "$PYTHON" -m pip install --quiet --disable-pip-version-check -r "$project/requirements.txt"
  cp "$project/requirements.txt" "$venv/installed-requirements.txt"
fi

# shellcheck shell=bash
# Sourced by the shell tools: sets $PYTHON to a Python that has what requirements.txt names for the tool.
# It is that of the folder IKE_VENV, where this is set; else the active one, if it lacks nothing; else
# that of .venv in the project. The folder is made and filled if needed, the active Python left as it is.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${IKE_VENV:-$project/.venv}
[[ $venv = /* ]] || venv=$PWD/$venv
PYTHON=$venv/bin/python

# Prints the path of a command, if it is a Python that is new enough.
recent() {
  "$1" -c 'import sys; sys.version_info < (3, 10) and sys.exit(1); print(sys.executable)' 2>/dev/null
}
# Whether a Python is enough for this tool; if not, $lacking says why.
has_requirements() {
  lacking=$("$1" "$project/tools/ike_tools/missing_requirements.py" "tools/$(basename -- "$0")" 2>&1)
}

lacking=
if [ -z "${IKE_VENV:-}" ]; then
  if ! active=$(recent python || recent python3); then
    [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] || lacking="the active Python is older than 3.10"
  elif has_requirements "$active"; then
    PYTHON=$active
  elif [ "$(dirname -- "$active")" -ef "$venv/bin" ]; then
    lacking=
  fi
fi
[ -z "$lacking" ] || printf '%s\n' "$lacking" "instead of it $venv is used" >&2
if [ "$PYTHON" = "$venv/bin/python" ] && ! has_requirements "$PYTHON"; then
  # An environment that could not be finished has a Python without pip.
  if ! "$PYTHON" -m pip --version >/dev/null 2>&1; then
    if ! recent python3 >/dev/null; then
      echo "error: python3 is $(python3 --version 2>&1); Python 3.10 or newer is needed" >&2
      exit 2
    fi
    python3 -m venv "$venv"
  fi
  echo "installing requirements.txt into $venv (PyTorch is large: several minutes, about 6 GB)" >&2
  "$PYTHON" -m pip install --quiet --disable-pip-version-check -r "$project/requirements.txt"
fi

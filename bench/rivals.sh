#!/usr/bin/env bash
# Makes a Python environment with the rivals, in the user's cache folder; where it is.
#
#   bench/rivals.sh            installs what requirements.txt names
set -euo pipefail
cd "$(dirname "$0")"
dir=${XDG_CACHE_HOME:-$HOME/.cache}/pitopt/rivals
[ -x "$dir/bin/python" ] || python3 -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --requirement requirements.txt
echo "$dir/bin/python"

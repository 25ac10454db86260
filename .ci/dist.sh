#!/usr/bin/env bash
# Builds wheel and sdist into dist/, installs each into an empty environment, as a user would, and
# runs smoke.py there, in a folder that is not the repository. The environments stand in a temporary
# folder and go with it. KINDS="wheel" or "sdist" tries one of the two.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
rm -rf dist
"$python" -m hatchling build -d dist
cp .ci/smoke.py "$folder/"
constraints=$PWD/constraints.txt
export PIP_CONSTRAINT=$constraints PIP_BUILD_CONSTRAINT=$constraints PIP_DISABLE_PIP_VERSION_CHECK=1
unset PYTHONPATH
for kind in ${KINDS:-wheel sdist}; do
    case $kind in wheel) built=$(ls "$PWD"/dist/*.whl) ;; *) built=$(ls "$PWD"/dist/*.tar.gz) ;; esac
    echo "== $kind: $(basename "$built"), $(stat -c %s "$built" 2>/dev/null || stat -f %z "$built") bytes"
    "$python" -m venv --clear "$folder/env"
    "$folder/env/bin/python" -m pip install -q "$built[chroma,lancedb,cli,mcp]"
    (cd "$folder" && env/bin/python smoke.py)
done

#!/usr/bin/env bash
# The tests of both hosts on the oldest chromadb, lancedb and pylance that pyproject.toml allows
# (`oldest`) or on the newest that the package index has (`newest`). Everything else is the newest
# that goes with them. The environment stands in a temporary folder and goes with it. Further
# arguments are pytest's.
set -euo pipefail
cd "$(dirname "$0")/.."
which=${1:?oldest or newest}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
python=$folder/env/bin/python
if [ "$which" = oldest ]; then
    for host in chromadb lancedb pylance; do
        sed -nE "s/.*\"$host>=([0-9.]+)\".*/$host==\1/p" pyproject.toml | head -1
    done > "$folder/constraints.txt"
fi
touch "$folder/constraints.txt"
"$python" -m pip install -q --disable-pip-version-check -c "$folder/constraints.txt" \
    ".[chroma,lancedb,cli,ray,eval]" hypothesis "moto[s3,server]" pandas polars pytest pytest-timeout
"$python" -m pip list --disable-pip-version-check | grep -iE '^(chromadb|lancedb|pylance|pyarrow) '
PYTHONPATH=$PWD:$PWD/adapters "$python" -m pytest tests/chroma tests/lancedb tests/contract -q "${@:2}"

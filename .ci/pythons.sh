#!/usr/bin/env bash
# The tests on every Python that pyproject.toml promises, each in an environment of its own, in
# build/pythons, which a second run goes on with. An interpreter comes from the path, from pyenv, or
# from uv, which may fetch it; what none of them has is skipped, and said so at the end.
# PYTHONS="3.10 3.13" runs some. Arguments are pytest's; without any the whole suite runs.
set -uo pipefail
cd "$(dirname "$0")/.."
versions=${PYTHONS:-3.10 3.11 3.12 3.13}
passed="" failed="" skipped=""

is() {  # whether a command is that version
    [ "$("$2" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ]
}

interpreter() {
    local each
    for each in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python python3; do
        if is "$1" "$each"; then
            echo "$each"
            return
        fi
    done
    command -v uv >/dev/null && uv python install -q "$1" 2>/dev/null && uv python find "$1"
}

for version in $versions; do
    python=$(interpreter "$version")
    if [ -z "$python" ]; then
        echo "== Python $version: not on this machine"
        skipped+=" $version"
        continue
    fi
    folder=build/pythons/$version
    echo "== Python $version: $("$python" -c 'import sys; print(sys.executable)')"
    if ! { { "$folder/bin/python" -m pip --version >/dev/null 2>&1 ||
             "$python" -m venv --clear "$folder"; } &&
           PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
               "$folder/bin/python" -m pip install -q --disable-pip-version-check -e ".[dev]"; }
    then
        echo "== Python $version: its environment cannot be installed"
        failed+=" $version"
        continue
    fi
    if "$folder/bin/python" -m pytest -q "$@"; then
        passed+=" $version"
    else
        failed+=" $version"
    fi
done
echo "== passed:${passed:- none}; failed:${failed:- none}; skipped, not here:${skipped:- none}"
[ -z "$failed" ] && [ -n "$passed" ]

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Write constraints.txt anew: exact versions that setup.py allows, one resolution for every
# supported Python. Versions stay as they are unless they must change, or with --upgrade.
set -eu
cd "$(dirname "$0")/.."
UV=$(readlink -f "${VENV:-.venv}/bin/uv")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# uv would otherwise look for wheels for PyPy and for other systems, which ROS does not have.
cat > "$work/pyproject.toml" <<'END'
[tool.uv]
environments = [
    "sys_platform == 'linux' and platform_machine == 'x86_64' and platform_python_implementation == 'CPython' and python_full_version < '3.14'",
]
END
cp setup.py "$work"
cp constraints.txt "$work/locked.txt"  # uv keeps what is there, unless told --upgrade
echo uv > "$work/tools.in"
(cd "$work" && "$UV" --no-python-downloads pip compile -q --universal \
    --python-version 3.10 --all-extras --no-emit-index-url --no-annotate --no-header \
    --no-emit-package samg-ros -o locked.txt setup.py tools.in "$@")
{
    echo '# Exact versions for `make`, Python 3.10 to 3.12 (3.13: all but dm_control).'
    echo '# Written by `make constraints` from setup.py; do not edit.'
    # Of the markers only the Python version tells two lines apart.
    sed -E "s/ and python_full_version < '3.14'//; s/ ; python_full_version < '3.14'.*//
            s/ and platform_machine == 'x86_64'.*//; s/ ; platform_machine.*//
            s/python_full_version/python_version/g" "$work/locked.txt"
} > constraints.txt

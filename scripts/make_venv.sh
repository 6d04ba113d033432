#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Make .venv with everything that this package needs, once. `make` calls it before every command;
# when nothing has changed since the last time it returns at once.
#
# A set-up that was interrupted is seen and begun again. An environment that another program made is
# added to and never deleted.
set -eu
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv}
READY=$VENV/.samg-ready  # fingerprint of what a complete environment was made from
BUSY=$VENV/.samg-busy    # an installation is running, or was interrupted
OURS=$VENV/.samg-made    # made by this script, which may therefore delete it; says where
# Kilted's wheels are in constraints.txt; Humble has none and takes Jazzy's.
WHEELS=scripts/ros-jazzy.txt
[ "${ROS:-kilted}" != kilted ] || WHEELS=

say() { echo "set-up: $*"; }
fail() { echo "set-up: error: $*" >&2; exit 1; }

fingerprint() {
    cat setup.py constraints.txt scripts/make_venv.sh $WHEELS | sha256sum
}

# Scripts in an environment name their interpreter by its full path.
has_moved() { [ -e "$OURS" ] && [ "$(cat "$OURS")" != "$(pwd)" ]; }

is_ready() {
    [ -x "$VENV/bin/python" ] && ! has_moved && [ "$(cat "$READY" 2>/dev/null)" = "$(fingerprint)" ]
}

# 3.13 is missing: dm_control needs labmaze, which has no wheel for it.
find_python() {
    for candidate in ${PYTHON:-python3 python3.12 python3.11 python3.10}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
                2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    fail "no Python 3.10, 3.11 or 3.12 found (${PYTHON:-python3}); install one," \
         "or name it: make PYTHON=/path/to/python3.11 ..."
}

# Opening a display, as MuJoCo will, finds a missing driver too, not only a missing library.
can_open_egl() {
    "$1" - <<'END'
import ctypes, os, sys
if os.environ.get('MUJOCO_GL', 'egl') != 'egl':
    sys.exit(0)
try:
    egl = ctypes.CDLL('libEGL.so.1')
    ctypes.CDLL('libOpenGL.so.0')
except OSError:
    sys.exit(1)
egl.eglGetPlatformDisplay.restype = ctypes.c_void_p
egl.eglGetPlatformDisplay.argtypes = [ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p]
egl.eglInitialize.argtypes = [ctypes.c_void_p] * 3
SURFACELESS, DEVICE = 0x31DD, 0x313F
displays = [egl.eglGetPlatformDisplay(kind, None, None) for kind in (SURFACELESS, DEVICE)]
sys.exit(not any(d and egl.eglInitialize(d, None, None) for d in displays))
END
}

missing_packages() {
    python=$1
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
    fi
    can_open_egl "$python" || echo libegl1 libopengl0 libgl1-mesa-dri
}

install_packages() {
    root=
    [ "$(id -u)" = 0 ] || root='sudo -n'
    command -v apt-get >/dev/null && $root true 2>/dev/null ||
        fail "this machine lacks $*; run: sudo apt-get install $*"
    say "installing $* (apt)"
    log=$(mktemp)
    { $root apt-get update -qq && $root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@"; } >"$log" 2>&1 ||
        { cat "$log" >&2; rm -f "$log"; fail "apt could not install $*"; }
    rm -f "$log"
}

install_python_packages() {
    pinned=constraints.txt extras=ros,simulation,models,engines,demonstrations,experts,ray,web,docs,dev
    if [ "$WHEELS" ]; then
        pinned=$VENV/constraints.txt extras=simulation,models,engines,demonstrations,dev
        grep -v '^ros-' constraints.txt > "$pinned"
    fi
    pip="$VENV/bin/python -m pip install --disable-pip-version-check -c $pinned"
    quiet=-q
    [ ! -t 1 ] || quiet=
    # shellcheck disable=SC2086  # words
    $pip -qq uv || return 1
    # uv downloads and unpacks in parallel: a quarter of pip's time. It does not read pip's own
    # configuration, so where a mirror is set only there, pip does the work.
    # shellcheck disable=SC2086  # empty means no argument
    VIRTUAL_ENV=$VENV "$VENV/bin/uv" pip install $quiet -c "$pinned" -b "$pinned" \
        ${WHEELS:+-r} $WHEELS -e ".[$extras]" && return
    say 'uv could not install (above); trying pip'
    # shellcheck disable=SC2086  # words
    $pip $quiet ${WHEELS:+-r} $WHEELS -e ".[$extras]"
}

is_ready && exit 0
exec 9<setup.py  # two makes at once: the second waits here
flock 9
is_ready && exit 0

begin=$(date +%s)
python=$(find_python)
missing=$(missing_packages "$python")
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086  # one word per package
    install_packages $missing
    still=$(missing_packages "$python")
    [ -z "$still" ] || fail "after installing $missing this machine still lacks $still"
fi

if [ -e "$BUSY" ] && [ -e "$OURS" ]; then
    say 'the last set-up did not end; beginning again'
    rm -rf "$VENV"
elif has_moved; then
    say "$VENV was made in $(cat "$OURS"); beginning again"
    rm -rf "$VENV"
fi
if [ -e "$READY" ]; then
    say "bringing $VENV up to date"
else
    say "making $VENV with $("$python" -V) (5 GB to download, once)"
fi
if [ ! -e "$VENV" ]; then
    mkdir -p "$VENV"
    touch "$BUSY"
    pwd > "$OURS"
fi
touch "$BUSY"
[ -x "$VENV/bin/python" ] || "$python" -m venv "$VENV"
if ! install_python_packages; then
    # What was complete before a change of the requirements still works.
    [ ! -e "$READY" ] || rm -f "$BUSY"
    fail 'the Python packages could not be installed; the message is above'
fi
fingerprint > "$READY"
rm -f "$BUSY"
say "done in $(($(date +%s) - begin)) s"

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Make a virtual environment for a ROS 2 workspace, with the Python packages that apt does not have:
#
#   src/samg_ros/scripts/ros_venv.sh .venv simulation,models
#
# It sees the Python packages of the distribution, rclpy included, and keeps their version of NumPy,
# which compiled modules such as cv_bridge need. Nothing outside the folder changes. colcon must run
# inside of it, as `python -m colcon build`: then `ros2 run` starts the nodes with its Python.
set -eu
[ $# -ge 1 ] || { echo "usage: $0 FOLDER [EXTRA,EXTRA...]; extras are those of setup.py" >&2; exit 2; }
package=$(cd "$(dirname "$0")/.." && pwd)
folder=$1 extras=${2:-}
python=${PYTHON:-/usr/bin/python3}

[ -x "$folder/bin/python" ] || "$python" -m venv --system-site-packages "$folder"
touch "$folder/COLCON_IGNORE"
folder=$(cd "$folder" && pwd)
# setup.py says what is needed; the package itself is installed by colcon.
(cd "$package" && EXTRAS=$extras "$folder/bin/python" - > "$folder/requirements.txt") <<'END'
import os, runpy, sys
import setuptools
given = {}
setuptools.setup = lambda **arguments: given.update(arguments)
runpy.run_path('setup.py')
extras = [name for name in os.environ['EXTRAS'].split(',') if name]
unknown = sorted(set(extras) - given['extras_require'].keys())
if unknown:
    known = ', '.join(sorted(given['extras_require']))
    sys.exit(f'no such extra: {", ".join(unknown)}; known are {known}')
needed = given['install_requires'] + sum((given['extras_require'][name] for name in extras), [])
try:  # of apt, under another name; pip would install a second one
    import cv2
    needed = [line for line in needed if not line.startswith('opencv')]
except ImportError:
    pass
print('\n'.join(needed))
END
"$python" -c 'import numpy; print("numpy==" + numpy.__version__)' > "$folder/constraints.txt" \
    2>/dev/null || : > "$folder/constraints.txt"  # the distribution has none
"$folder/bin/python" -m pip install --disable-pip-version-check -q \
    -r "$folder/requirements.txt" -c "$folder/constraints.txt" \
    ${SAMG_CONSTRAINTS:+-c} ${SAMG_CONSTRAINTS:-}
echo "now: . $folder/bin/activate && python -m colcon build --symlink-install"

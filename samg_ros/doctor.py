# SPDX-License-Identifier: Apache-2.0
"""`samg doctor`: what this machine has and lacks, in plain words.

Every check does the real thing once: it renders a frame, sends a message, loads the weights. What
can crash or hang (drivers, middleware) runs in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from samg_ros.arguments import add_json
from samg_ros.errors import SamgError, first_line
from samg_ros.files.outputs import write_json

OK, NOTE, MISSING = 'ok', 'note', 'missing'
TIMEOUT_S = 60
FREE_DISK_GB = 2

REQUIRED_PYTHON = ((3, 10), (3, 13))
SIMULATION_PACKAGES = ('mujoco', 'dm_control', 'gymnasium')
MESSAGE_PACKAGES = ('sensor_msgs', 'std_msgs', 'std_srvs', 'geometry_msgs', 'diagnostic_msgs',
                    'rosgraph_msgs', 'lifecycle_msgs', 'rcl_interfaces', 'trajectory_msgs')
BAG_PACKAGES = ('rosbags', 'mcap', 'zstandard')
MODEL_PACKAGES = ('torchvision', 'segment_anything', 'transformers', 'timm')


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        name: what was looked at.
        state: 'ok', 'note' (works without) or 'missing' (something does not work without).
        text: what there is, and where it is not enough, what to do.
    """

    name: str
    state: str
    text: str


RENDER = """
import os, time
from samg_ros.sim.gl import check_gl
check_gl()
import mujoco
model = mujoco.MjModel.from_xml_string(
    '<mujoco><visual><quality offsamples="0"/></visual><worldbody>'
    '<light pos="0 0 3" castshadow="false"/><geom size=".1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 84, 84) as renderer:
    renderer.update_scene(data)
    assert renderer.render().any(), 'the frame is black'
    begin = time.perf_counter()
    for _ in range(20):
        renderer.render()
    rate = 20 / (time.perf_counter() - begin)
    from OpenGL import GL
    backend = os.environ.get('MUJOCO_GL', 'window')
    print(f'{backend}: {GL.glGetString(GL.GL_RENDERER).decode()}, {rate:.0f} frames/s at 84 x 84')
"""

MESSAGE = """
import time, rclpy
from std_msgs.msg import String
rclpy.init()
node = rclpy.create_node('samg_doctor')
got = []
node.create_subscription(String, 'samg_doctor', got.append, 1)
publisher = node.create_publisher(String, 'samg_doctor', 1)
begin = time.perf_counter()
while not got and time.perf_counter() - begin < 20:
    publisher.publish(String(data='hello'))
    rclpy.spin_once(node, timeout_sec=0.1)
assert got, 'no message came back within 20 s'
print(f'{rclpy.get_rmw_implementation_identifier()}, a message came back in '
      f'{time.perf_counter() - begin:.2f} s')
rclpy.shutdown()
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg doctor`."""
    add_json(parser, 'findings')


def run(args: argparse.Namespace) -> int:
    """Run `samg doctor`; the exit status is 1 when something is missing."""
    findings = []
    for check in CHECKS:
        finding = check()
        findings.append(finding)
        print(f'{finding.state:8}{finding.name:15}{finding.text}', flush=True)
    missing = [finding.name for finding in findings if finding.state == MISSING]
    print(f'\nmissing: {", ".join(missing)}' if missing else
          '\nThis machine can train: samg run sim_train')
    if args.json:
        write_json(args.json, [asdict(finding) for finding in findings])
    return int(bool(missing))


def check_python() -> Finding:
    """Look at the interpreter."""
    low, high = REQUIRED_PYTHON
    version = f'{platform.python_version()} at {sys.executable}'
    if low <= sys.version_info[:2] <= high:
        return Finding('Python', OK, version)
    return Finding('Python', MISSING, f'{version}; install Python {low[0]}.{low[1]} to '
                                      f'{high[0]}.{high[1]}')


def check_torch() -> Finding:
    """Look at PyTorch and for a GPU."""
    if not _installed('torch'):
        return Finding('PyTorch', MISSING, _pip_line('torch'))
    import torch
    if not torch.cuda.is_available():
        return Finding('PyTorch', OK, f'{torch.__version__} on {torch.get_num_threads()} CPU '
                                      'threads; no CUDA device, so the large models are slow')
    free, total = torch.cuda.mem_get_info()
    return Finding('PyTorch', OK, f'{torch.__version__} with {torch.cuda.get_device_name()}, '
                                  f'{free / 1e9:.0f} of {total / 1e9:.0f} GB free')


def check_simulation() -> Finding:
    """Look for MuJoCo and dm_control."""
    missing = [name for name in SIMULATION_PACKAGES if not _installed(name)]
    if missing:
        return Finding('Simulation', MISSING, _pip_line(*missing))
    return Finding('Simulation', OK, _versions(SIMULATION_PACKAGES))


def check_rendering() -> Finding:
    """Render frames as the simulator will."""
    if not _installed('mujoco'):
        return Finding('Rendering', MISSING, 'not tried without MuJoCo')
    works, text = _try(RENDER)
    if works:
        return Finding('Rendering', OK, text)
    return Finding('Rendering', MISSING, text.removeprefix('samg_ros.errors.').partition(': ')[2]
                   if text.startswith('samg_ros.errors.') else text)


def check_ros() -> Finding:
    """Send a message to ourselves through the middleware."""
    if not _installed('rclpy'):
        return Finding('ROS 2', MISSING, "no rclpy; source your ROS 2 (source /opt/ros/*/setup.sh) "
                                         "or pip install 'ros-rclpy[fastrtps]==9.1.2'")
    works, text = _try(MESSAGE)
    distribution = os.environ.get('ROS_DISTRO', 'from wheels')
    if works:
        return Finding('ROS 2', OK, f'{distribution}, {text}')
    return Finding('ROS 2', MISSING, f'{distribution}: no message could be sent ({text})')


def check_messages() -> Finding:
    """Look for the message packages."""
    missing = [name for name in MESSAGE_PACKAGES if not _installed(name)]
    if missing:
        return Finding('Messages', MISSING, f'no {", ".join(missing)}; rosdep install --from-paths '
                                            '. on a ROS machine, else '
                                            + _pip_line(*('ros-' + name for name in missing)))
    return Finding('Messages', OK, ', '.join(MESSAGE_PACKAGES))


def check_cv_bridge() -> Finding:
    """Look for cv_bridge."""
    if _installed('cv_bridge'):
        return Finding('cv_bridge', OK, 'images go through it')
    return Finding('cv_bridge', NOTE, 'not here; the same conversions are done with numpy')


def check_launch() -> Finding:
    """Look for the launch library."""
    missing = [name for name in ('launch', 'launch_ros') if not _installed(name)]
    if not missing:
        return Finding('launch', OK, 'ros2 launch samg_ros sim_train.launch.py')
    return Finding('launch', NOTE, f'no {", ".join(missing)}; `samg run` starts the same graph in '
                                   'one process')


def check_weights() -> Finding:
    """Load the model that the package ships."""
    if not _installed('torch'):
        return Finding('mini', MISSING, 'not tried without PyTorch')
    from samg_ros.masking import Masker
    try:
        Masker.load('mini')
    except SamgError as error:
        return Finding('mini', MISSING, str(error))
    return Finding('mini', OK, 'the embedded mask model loads')


def check_engine() -> Finding:
    """Look for what compiles networks for the CPU."""
    if not _installed('openvino'):
        return Finding('Engine', NOTE, 'torch; a CPU masks faster with OpenVINO: '
                       + _pip_line('openvino'))
    if not _installed('torch'):
        return Finding('Engine', NOTE, 'not tried without PyTorch')
    from samg_ros.masking.engines.openvino_cpu import OpenVinoEngine, description
    try:
        OpenVinoEngine('float32', 1)  # as engine 'auto' does
        return Finding('Engine', OK, description())
    except (SamgError, ImportError, RuntimeError) as error:
        return Finding('Engine', NOTE, f'torch; OpenVINO cannot be used ({first_line(error)})')


def check_models() -> Finding:
    """Look for what the large models need."""
    missing = [name for name in MODEL_PACKAGES if not _installed(name)]
    if missing:
        return Finding('Large models', NOTE, f'DINOv2 and SAM need more; {_pip_line(*missing)}')
    return Finding('Large models', OK, _versions(MODEL_PACKAGES))


def check_bags() -> Finding:
    """Look for what reads recorded bags."""
    found = {}
    for name in BAG_PACKAGES:  # rosbags is a namespace, which _installed takes for a folder
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    missing = [name for name in BAG_PACKAGES if name not in found]
    if missing:
        return Finding('Bags', MISSING, f'samg eval bag needs more; {_pip_line(*missing)}')
    return Finding('Bags', OK, ', '.join(f'{name} {version}' for name, version in found.items()))


def check_video() -> Finding:
    """Look at OpenCV's video reading."""
    if not _installed('cv2'):
        return Finding('OpenCV', MISSING, _pip_line('opencv-python-headless'))
    import cv2
    if 'FFMPEG:                      YES' in cv2.getBuildInformation():
        return Finding('OpenCV', OK, f'{cv2.__version__} with FFmpeg')
    return Finding('OpenCV', NOTE, f'{cv2.__version__} without FFmpeg: few videos can be read')


def check_disk() -> Finding:
    """Look at the room for runs."""
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    text = f'{free_gb:.0f} GB free in {Path.cwd()}'
    if free_gb < FREE_DISK_GB:
        return Finding('Disk', MISSING, f'{text}; a run needs {FREE_DISK_GB} GB')
    return Finding('Disk', OK, text)


CHECKS: tuple[Callable[[], Finding], ...] = (
    check_python, check_torch, check_video, check_simulation, check_rendering, check_ros,
    check_messages, check_cv_bridge, check_launch, check_bags, check_weights,
    check_engine, check_models, check_disk)


def _installed(module: str) -> bool:
    """Whether a real module is there; a folder that happens to have its name is not one."""
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None


def _versions(modules: tuple[str, ...]) -> str:
    known = metadata.packages_distributions()
    return ', '.join(f'{name} {metadata.version(known[name][0])}' if name in known else name
                     for name in modules)


def _pip_line(*packages: str) -> str:
    return f'pip install -c constraints.txt {" ".join(packages).replace("_", "-")}'


def _try(code: str, **environment: str) -> tuple[bool, str]:
    """Run code in a new interpreter; return whether it worked and its last line."""
    try:
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                              timeout=TIMEOUT_S, env={**os.environ, **environment}, check=False)
    except subprocess.TimeoutExpired:
        return False, f'no answer within {TIMEOUT_S} s'
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return done.returncode == 0, lines[-1] if lines else f'exit status {done.returncode}'

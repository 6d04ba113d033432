# SPDX-License-Identifier: Apache-2.0
"""What is left behind when perception and policy are taken down and set up again, many times.

    python benchmarks/graph_cycles.py --cycles 500

Each cycle masks a frame and sends a command in the active state, then deactivates, cleans up,
configures and activates both. Memory, threads and file handles are printed on the way; what the
first cycles leave (caches, arenas) is not counted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from graph_rig import (
    JOINTS,
    Resources,
    Rig,
    header,
    joint_state,
    picture,
    save_policy,
    save_reference,
    start_ros,
)
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool
from tqdm import tqdm

from samg_ros.nodes.perception_node import Perception
from samg_ros.nodes.policy_node import PolicyNode
from samg_ros.ros.messages.images import array_to_image

SIDE = 48
SETTLED = 0.1
"""Share of the cycles after which what the first ones leave is there."""


def cycle(rig: Rig, cycles: int, folder: Path) -> dict[str, Any]:
    """Run the cycles; return what the process held on the way and at the end."""
    perception = rig.add(Perception, reference=save_reference(folder, SIDE), fit_weights=False)
    policy = rig.add(PolicyNode, checkpoint=save_policy(folder / 'policy.pt', SIDE),
                     joints=list(JOINTS), timeout_s=5.0)
    images = rig.publisher(Image, 'image')
    joints = rig.publisher(JointState, 'joint_states')
    commands: list[Float64MultiArray] = []
    rig.probe.create_subscription(Float64MultiArray, 'command', commands.append, 10)
    frame, _ = picture(np.random.default_rng(1), SIDE)
    sent = 0

    def show() -> None:
        nonlocal sent
        sent += 1
        joints.publish(joint_state(sent))
        images.publish(array_to_image(frame, header(sent)))

    def show_until(condition: Any) -> None:
        """Show frames until it holds; those sent before everybody listens are lost."""
        while not condition():
            show()
            due = time.monotonic() + 0.05
            rig.until(lambda due=due: condition() or time.monotonic() > due)

    settled: Resources | None = None
    began = time.monotonic()
    for index in tqdm(range(cycles), desc='cycles', leave=False):
        show_until(lambda: policy._inputs.count)
        answer = rig.call(SetBool, 'policy/enable', SetBool.Request(data=True))
        if not answer.success:
            raise RuntimeError(f'cycle {index}: {answer.message}')
        commands.clear()
        show_until(lambda: commands)
        for transition in ('deactivate', 'cleanup', 'configure', 'activate'):
            for node in (policy, perception):
                if getattr(node, f'trigger_{transition}')() != TransitionCallbackReturn.SUCCESS:
                    raise RuntimeError(f'cycle {index}: {node.get_name()} did not {transition}')
        if index + 1 == max(1, round(SETTLED * cycles)):
            settled = Resources.now()
    assert settled is not None
    ended = Resources.now()
    return {'cycles': cycles, 'seconds': time.monotonic() - began,
            'settled': asdict(settled), 'ended': asdict(ended),
            'memory_growth': ended.resident_mib / settled.resident_mib - 1}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--cycles', type=int, default=500, metavar='N')
    parser.add_argument('--json', type=Path, metavar='PATH', help='write the figures there too')
    args = parser.parse_args()
    start_ros()
    rig = Rig()
    with tempfile.TemporaryDirectory() as folder:
        row = cycle(rig, args.cycles, Path(folder))
    rig.close()
    rclpy.try_shutdown()
    print(f'{row["cycles"]} cycles of perception and policy in {row["seconds"]:.0f} s')
    print(f'after {SETTLED:.0%} of them {Resources(**row["settled"])}')
    print(f'after the last  {Resources(**row["ended"])}  ({row["memory_growth"]:+.1%} memory)')
    if args.json:
        args.json.write_text(json.dumps(row, indent=2) + '\n')


if __name__ == '__main__':
    main()

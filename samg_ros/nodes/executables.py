# SPDX-License-Identifier: Apache-2.0
"""Light entry points of the nodes, for setup.py.

Importing a node imports torch or MuJoCo, which takes seconds, and Ctrl-C or a launch file that ends
in those seconds would leave a traceback. Here the signal handlers stand first.
"""

from __future__ import annotations

import importlib
from typing import NoReturn

from samg_ros.nodes.signals import StopSignal, leave


def mujoco_bridge() -> NoReturn:
    """Run the simulator; see `samg_ros.sim.bridge_node`."""
    _run('samg_ros.sim.bridge_node')


def perception() -> NoReturn:
    """Run the masker; see `samg_ros.nodes.perception`."""
    _run('samg_ros.nodes.perception')


def policy() -> NoReturn:
    """Run a trained policy; see `samg_ros.nodes.policy`."""
    _run('samg_ros.nodes.policy')


def trainer() -> NoReturn:
    """Run the learner; see `samg_ros.nodes.trainer`."""
    _run('samg_ros.nodes.trainer')


def _run(module: str) -> NoReturn:
    StopSignal()
    importlib.import_module(module).main()
    leave(0)

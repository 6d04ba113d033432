# SPDX-License-Identifier: Apache-2.0
"""Runs the nodes of a graph in one process, as `samg run` does.

The node classes are those of the launch file and so is the parameter file, and every message goes
through DDS; only the executor is shared. It needs no ROS installation beyond the wheels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rclpy

from samg_ros.errors import SamgError
from samg_ros.graphs.spec import NodeSpec, Remappings, ros_arguments
from samg_ros.nodes.executables import node_class
from samg_ros.nodes.recorder_node import Recorder
from samg_ros.ros.compat import make_executor
from samg_ros.ros.domain import init_ros
from samg_ros.ros.node import close, print_error, run_all_then_raise, spin
from samg_ros.ros.parameters import overrides
from samg_ros.ros.signals import StopSignal

_RECORDED_S = 0.2
"""How long the recorder goes on after the others: their last messages are on their way."""


def make_node(spec: NodeSpec) -> Any:
    """Build the node of a spec.

    Raises:
        SamgError: what the node raised.
    """
    return node_class(spec.name)(cli_args=ros_arguments(spec.remappings),
                                 parameter_overrides=overrides(spec.parameters))


class OneProcess:
    """A graph that lives as long as a `with` block.

    Nodes are built in the order of their specs and closed in the opposite one.
    """

    def __init__(self, specs: Sequence[NodeSpec], parameter_file: Path, stop_signal: StopSignal,
                 record: Path | None = None, recorded: Remappings = (),
                 more_cameras: Sequence[str] = ()) -> None:
        """Note what is to run; `samg_ros.ros.domain.choose_domain` comes before.

        Args:
            specs: the nodes.
            parameter_file: their ROS parameters.
            stop_signal: is deferred while the nodes run, so that they can save.
            record: MCAP file, replaced if it is there, to record the session in, from before the
                first node to after the last; None for none.
            recorded: the graph's topics where they have other names than those of `recorder`.
            more_cameras: names of further cameras to record.
        """
        self._specs, self._parameter_file = specs, parameter_file
        self._stop_signal, self._record, self._recorded = stop_signal, record, recorded
        self._more_cameras = more_cameras
        self._nodes: dict[str, Any] = {}
        self._recorder: Any = None

    def __enter__(self) -> OneProcess:
        """Build and start the nodes.

        Raises:
            SamgError: what a node raised.
        """
        init_ros(['--ros-args', '--params-file', str(self._parameter_file)])
        self._executor = make_executor()
        try:
            if self._record is not None:
                self._record.unlink(missing_ok=True)  # refused before, unless --overwrite was given
                self._recorder = Recorder(self._record, self._more_cameras,
                                          cli_args=ros_arguments(self._recorded))
                self._executor.add_node(self._recorder)
            for spec in self._specs:
                node = self._nodes[spec.name] = make_node(spec)
                self._executor.add_node(node)
                node.start()
        except BaseException as error:
            self._close(error)
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close the nodes.

        Raises:
            SamgError: if one could not save; printed instead where another error is on its way.
        """
        self._close(error)

    def __getitem__(self, name: str) -> Any:
        """Return the node of a spec by its name."""
        return self._nodes[name]

    def spin(self, over: Callable[[], bool]) -> None:
        """Work until `over` says so or a signal comes.

        Raises:
            SamgError: the first error of a node.
        """
        nodes = [*self._nodes.values(), *filter(None, [self._recorder])]
        self._stop_signal.defer()
        spin(self._executor, lambda: self._stop_signal.requested or over()
             or any(node.error is not None for node in nodes))
        for node in nodes:
            if node.error is not None:
                raise node.error

    def _close(self, before: BaseException | None) -> None:
        self._stop_signal.defer()
        try:
            run_all_then_raise((lambda: close([*reversed(self._nodes.values())]),
                                self._executor.shutdown, self._close_recorder, rclpy.try_shutdown))
        except SamgError as error:
            if before is None:
                raise
            print_error(error)

    def _close_recorder(self) -> None:
        if self._recorder is None:
            return
        executor = make_executor()  # the other one has work left for nodes that are gone
        executor.add_node(self._recorder)
        until = time.monotonic() + _RECORDED_S
        spin(executor, lambda: time.monotonic() > until)
        run_all_then_raise((lambda: close([self._recorder]), executor.shutdown))

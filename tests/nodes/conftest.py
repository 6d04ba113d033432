# SPDX-License-Identifier: Apache-2.0
"""A graph of real nodes on real Fast DDS, for the tests here and in tests/e2e.

Each test gets its own ROS context, in a domain that nobody else on the machine uses.
"""

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'config'


class Graph:
    """Nodes under test and one node that looks at them from outside."""

    def __init__(self) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray

        from samg_ros.ros.compat import make_executor

        self.executor = make_executor()
        self.nodes: list[Any] = []
        self.incomplete = False
        """Whether a node could not be built; what there is of it stays on the network until
        Python's garbage collection."""
        self.processes: list[subprocess.Popen[str]] = []
        self.probe = rclpy.create_node('probe')
        self.executor.add_node(self.probe)
        self.diagnostics: dict[str, Any] = {}
        self.probe.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            self.diagnostics[status.name] = status

    def values(self, name: str) -> dict[str, str]:
        """The figures of a status by its name; empty before it came."""
        status = self.diagnostics.get(name)
        return {} if status is None else {pair.key: pair.value for pair in status.values}

    def said(self, name: str) -> str:
        """The words of a status by its name; empty before it came."""
        status = self.diagnostics.get(name)
        return '' if status is None else status.message

    def statuses(self) -> dict[str, str]:
        """What everybody last said on /diagnostics."""
        return {name: f'{status.message} {self.values(name)}'
                for name, status in self.diagnostics.items()}

    def add(self, node_class: Any, parameters: dict[str, Any] | None = None,
            remappings: tuple[tuple[str, str], ...] = ()) -> Any:
        """Build a node, with diagnostics that come quickly."""
        from samg_ros.ros.parameters import overrides

        arguments = ['--ros-args'] + [part for pair in remappings
                                      for part in ('-r', f'{pair[0]}:={pair[1]}')]
        try:
            node = node_class(cli_args=arguments, parameter_overrides=overrides(
                {'diagnostics_period_s': 0.05, **(parameters or {})}))
        except BaseException:
            self.incomplete = True
            raise
        self.nodes.append(node)
        self.executor.add_node(node)
        node.start()
        return node

    def remove(self, node: Any) -> None:
        """End one node."""
        from samg_ros.ros.node import close

        self.nodes.remove(node)
        self.executor.remove_node(node)
        self.spin_for(0.1)  # the executor takes notice when it spins
        close([node])

    def spawn(self, name: str, parameters: dict[str, Any] | None = None,
              remappings: tuple[tuple[str, str], ...] = (), before: str = '',
              **environment: str) -> subprocess.Popen[str]:
        """Start a node as a process that ends with the graph; its stderr is a pipe.

        Lines of Python may be run before it; variables are added to its environment.
        """
        code = f'{before}\nfrom samg_ros.nodes.executables import {name}; {name}()'
        arguments = [part for key, value in {'diagnostics_period_s': 0.1,
                                             **(parameters or {})}.items()
                     for part in ('-p', f'{key}:={json.dumps(value)}')]
        arguments += [part for old, new in remappings for part in ('-r', f'{old}:={new}')]
        environment = {**os.environ, **environment, 'PYTHONPATH': os.pathsep.join(
            [str(ROOT), os.environ.get('PYTHONPATH', '')])}
        self.processes.append(subprocess.Popen(
            [sys.executable, '-c', code, '--ros-args', *arguments], env=environment, text=True,
            stderr=subprocess.PIPE))
        return self.processes[-1]

    def until(self, condition: Callable[[], Any], timeout_s: float = 240.0) -> None:
        """Spin until the condition holds; fail if it does not in time."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f'it did not happen in time; {self.statuses()}'
            self.executor.spin_once(timeout_sec=0.02)
            for node in self.nodes:
                if node.error is not None:
                    raise node.error

    def spin_for(self, seconds: float) -> None:
        """Spin for a while, come what may."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.01)

    def listen(self, message_type: Any, topic: str, qos: Any = 50) -> list[Any]:
        """Return a list that the probe fills with the messages of a topic."""
        messages: list[Any] = []
        self.probe.create_subscription(message_type, topic, messages.append, qos)
        return messages

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        """Call a service and return the answer."""
        client = self.probe.create_client(service_type, name)
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        return future.result()


@contextmanager
def open_graph(parameter_file: str) -> Iterator[Graph]:
    """An empty graph, in a ROS context of its own that knows a file of config/."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from samg_ros.ros.domain import choose_domain
    from samg_ros.ros.node import close

    choose_domain()
    rclpy.init(args=['--ros-args', '--params-file', str(CONFIG / parameter_file)],
               signal_handler_options=SignalHandlerOptions.NO)
    made = Graph()
    try:
        yield made
    finally:
        for process in made.processes:
            process.kill()
            process.wait()
            process.stderr.close()
        close(made.nodes)
        made.probe.destroy_node()
        made.executor.shutdown()
        rclpy.try_shutdown()
        if made.incomplete:
            gc.collect()  # or the next test meets a node of the same name


@pytest.fixture
def graph(request: pytest.FixtureRequest) -> Iterator[Graph]:
    """An empty graph; its parameter file may be chosen by indirect parametrisation."""
    with open_graph(getattr(request, 'param', 'sim_train.yaml')) as made:
        yield made


@pytest.fixture(name='open_graph')
def open_graph_function() -> Any:
    """`open_graph`, for a test that wants one graph after the other."""
    return open_graph

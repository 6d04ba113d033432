# SPDX-License-Identifier: Apache-2.0
"""One code for Humble to Lyrical: `compat` has what differs, and nothing else knows of it."""

import ast
import importlib
import os
import sys
import time
from pathlib import Path

import pytest
import rclpy

from samg_ros.ros import compat, domain

ROOT = Path(__file__).parents[2]
CODE = [path for path in (ROOT / 'samg_ros').rglob('*.py') if 'sim' not in path.parts]
LATER = ('rclpy.event_handler', 'rclpy.qos_event', 'rclpy.clock_type', 'rclpy.experimental',
         'rclpy.parameter_client', 'rclpy.parameter_event_handler', 'rclpy.logging_service')
"""Modules that Humble does not have, and those whose names have moved."""


def imports_of_rclpy(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'rclpy':
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, '') for alias in node.names
                        if alias.name.split('.')[0] == 'rclpy')


def test_only_compat_imports_what_not_every_distribution_has():
    found = {(path.name, module) for path in CODE for module, _ in imports_of_rclpy(path)
             if module.startswith(LATER)}
    assert {name for name, _ in found} == {'compat.py'}, found


def test_every_name_of_rclpy_is_in_the_source_of_humble():
    source = Path(os.environ.get('SAMG_HUMBLE_SRC', '/nowhere')) / 'rclpy/rclpy'
    if not source.is_dir():
        pytest.skip('SAMG_HUMBLE_SRC may name a folder with a checkout of ros2/rclpy, branch '
                    'humble')
    missing = []
    for path in CODE:
        for module, name in imports_of_rclpy(path):
            place = source / module.replace('.', '/')
            file = place / '__init__.py' if place.is_dir() else place.with_suffix('.py')
            if path.name != 'compat.py' and (not file.exists() or name not in file.read_text()):
                missing.append((path.name, module, name))
    assert not missing


def test_a_steady_timer_that_is_destroyed_is_not_called_any_more():
    domain.choose_domain()
    rclpy.init()
    try:
        node = rclpy.create_node('destroyer')
        executor, calls = compat.make_executor(), []
        executor.add_node(node)
        timers = [compat.steady_timer(node, 0.05, lambda: calls.append(1)) for _ in range(20)]
        time.sleep(0.2)  # all are due
        executor.spin_once(timeout_sec=0.1)
        for timer in timers:
            node.destroy_timer(timer)
        before = len(calls)
        for _ in range(20):
            executor.spin_once(timeout_sec=0.01)
        assert len(calls) == before
        node.destroy_node()
        executor.shutdown()
    finally:
        rclpy.shutdown()


def test_a_steady_timer_runs_while_simulated_time_stands_still():
    domain.choose_domain()
    rclpy.init()
    try:
        node = rclpy.create_node('sleeper', parameter_overrides=[
            rclpy.Parameter('use_sim_time', value=True)])
        executor, calls = compat.make_executor(), []
        executor.add_node(node)
        compat.steady_timer(node, 0.01, lambda: calls.append(1))
        for _ in range(100):
            executor.spin_once(timeout_sec=0.05)
            if len(calls) > 2:
                break
        assert len(calls) > 2
        node.destroy_node()
        executor.shutdown()
    finally:
        rclpy.shutdown()


@pytest.mark.parametrize('given', [('m', {'gid': 1}), (('m', {'gid': 1}),)])
def test_message_info_comes_as_two_arguments_however_rclpy_passes_it(given):
    got = []
    compat.with_message_info(lambda message, info: got.append((message, info)))(*given)
    assert got == [('m', {'gid': 1})]


def test_without_message_info_the_mapping_is_empty():
    got = []
    compat.with_message_info(lambda message, info: got.append((message, info)))('m')
    assert got == [('m', {})]


@pytest.mark.parametrize(('versions', 'variable'), [
    ({'rclpy': '3.3.16'}, 'FASTRTPS_DEFAULT_PROFILES_FILE'),  # Humble's apt package
    ({'ros-rclpy': '7.1.6'}, 'FASTRTPS_DEFAULT_PROFILES_FILE'),  # Jazzy's wheel
    ({'rclpy': '9.1.2'}, 'FASTDDS_DEFAULT_PROFILES_FILE'),  # Kilted
    ({'rclpy': '10.0.8'}, 'FASTDDS_DEFAULT_PROFILES_FILE'),  # Lyrical
    ({}, 'FASTRTPS_DEFAULT_PROFILES_FILE')])  # every version reads it
def test_the_profile_variable_follows_rclpy_not_the_environment(monkeypatch, versions, variable):
    def version(name):
        if name not in versions:
            raise domain.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(domain, 'version', version)
    monkeypatch.setenv('ROS_DISTRO', 'kilted')
    assert domain._profile_variable() == variable


@pytest.mark.skipif('humble_like' not in os.environ.get('PYTHONPATH', ''),
                    reason='only in make test ROS=humble')
def test_the_humble_like_run_hides_what_humble_does_not_have():
    assert compat.EventsExecutor is None
    assert sys.version_info[:2] == (3, 10)
    for name in ('rclpy.event_handler', 'rclpy.clock_type', 'rclpy.experimental'):
        with pytest.raises(ModuleNotFoundError, match='on Humble'):
            __import__(name)
    assert importlib.import_module('rclpy.qos_event').PublisherEventCallbacks

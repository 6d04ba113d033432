# SPDX-License-Identifier: Apache-2.0
"""Ray, started so that no other user can use it: loopback alone, and a token for every request.

Whoever reaches a port of Ray without a token runs code as the user who started it. Ray listens on
all interfaces unless told otherwise, and asks for a token since version 2.52, if it is told to.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from typing import Any

from samg_ros.errors import ConfigError, MissingDependencyError

LOCAL, NO_RAY = 'local', 'none'
"""Addresses that are none: Ray on this machine alone; one run after the other in this process."""

LEAST_VERSION = (2, 52)
"""The first that asks for tokens."""
_OBJECT_STORE_BYTES = 80 * 2**20
"""Ray's least: runs exchange nothing but files."""
_ANSWER_S = 2.0
_START_ATTEMPTS = 3


def connect(address: str, cores: int, gpus: float) -> Any:
    """Connect to a cluster, or start one on this machine that no other user can reach.

    A cluster asks for its token too, unless the user has set RAY_AUTH_MODE=disabled.

    Args:
        address: of a cluster, or LOCAL.
        cores: CPU cores that one run needs.
        gpus: GPUs that it needs.

    Returns:
        The module `ray`, connected.

    Raises:
        MissingDependencyError: if Ray is not installed, or too old to ask for a token.
        ConfigError: if there is no such cluster, or no machine of it is large enough for a run.
    """
    if address == LOCAL and cores > (there := len(os.sched_getaffinity(0))):
        raise ConfigError(f'a run is to have {cores} cores and this machine has {there}; give '
                          f'--cores {there}')
    if address != LOCAL:
        _check_answers(address)
    ray = _import(address)
    options: dict[str, Any] = {'log_to_driver': False, 'logging_level': 'ERROR'}
    if address == LOCAL:
        options.update(num_cpus=there, include_dashboard=False,
                       object_store_memory=_OBJECT_STORE_BYTES)
        _start(ray, options)
    else:
        try:
            ray.init(address=address, **options)
        except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            raise ConfigError(
                f"there is no Ray cluster to use at '{address}' "
                f'({" ".join(str(error).split())}); start one by `ray start --head`, or give '
                '--ray local') from error
    wanted = {'CPU': cores, 'GPU': gpus}
    if not any(all(node['Resources'].get(kind, 0) >= count for kind, count in wanted.items())
               for node in ray.nodes() if node['Alive']):
        ray.shutdown()
        raise ConfigError(f'no machine has the {cores} cores and {gpus:g} GPUs that a run is to '
                          'have; give fewer --cores or --gpus')
    return ray


def _import(address: str) -> Any:
    """Import Ray, which reads its environment at that moment; returns the module."""
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    os.environ.setdefault('RAY_agent_register_timeout_ms', '120000')  # a busy machine is slow
    if address != LOCAL:
        os.environ.setdefault('RAY_AUTH_MODE', 'token')
    else:
        # Ray named this switch after the systems that needed it first. With it 127.0.0.1 is the
        # address of this machine, to which all of Ray's processes bind.
        os.environ['RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER'] = '0'
        os.environ['RAY_AUTH_MODE'] = 'token'
        os.environ.setdefault('RAY_AUTH_TOKEN', secrets.token_hex(32))
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            "spreading runs needs Ray; run: pip install 'ray>=2.52', or give --ray none for one "
            'run after the other') from error
    if tuple(int(part) for part in ray.__version__.split('.')[:2]) < LEAST_VERSION:
        raise MissingDependencyError(
            f'Ray {ray.__version__} runs the code of whoever reaches its ports; run: pip install '
            "'ray>=2.52', which asks for a token, or give --ray none for one run after the other")
    return ray


def _check_answers(address: str) -> None:
    """Raise ConfigError if nothing listens there: Ray would find out after a minute."""
    host, colon, port = address.rpartition('://')[2].rpartition(':')
    if not colon or not port.isdecimal():
        return  # a word of Ray's, such as auto
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except (OSError, ValueError, OverflowError) as error:  # no host or port can be called so
        reason = getattr(error, 'strerror', None) or error
        raise ConfigError(f"nothing answers at '{address}' ({reason}); start a "
                          'cluster by `ray start --head`, or give --ray local') from error


def _start(ray: Any, options: Mapping[str, Any]) -> None:
    """Start Ray on this machine; a busy one is slower than Ray's patience, so more than once."""
    for attempts_left in reversed(range(_START_ATTEMPTS)):
        try:
            ray.init(address=LOCAL, **options)
            return
        except Exception as error:  # Ray's own class of error is none
            ray.shutdown()
            if not attempts_left:
                raise ConfigError(
                    f'Ray does not start on this machine ({" ".join(str(error).split())}); look '
                    'at what else runs, or give --ray none for one run after the other'
                ) from error

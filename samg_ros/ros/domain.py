# SPDX-License-Identifier: Apache-2.0
"""Keeps graphs on one machine apart.

Two training runs in the default domain would answer each other's frames. A process that holds a
whole graph needs no other process, so it takes a free domain of its own and stays on this machine,
unless the user has said otherwise.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from samg_ros.errors import ConfigError, first_line, plain
from samg_ros.files.share import share_file

LAST_DOMAIN = 232
"""The ports of those after it would be above 65535."""
_PORT_BASE, _PORTS_PER_DOMAIN, _UNICAST_OFFSET = 7400, 250, 10
"""DDS's rule for the discovery ports of a domain (DDSI-RTPS 2.5, section 9.6.2.3)."""
_SPARE_OFFSET = 9
"""A port of the domain that the rule leaves unused: whoever chose the domain holds it."""
_PROFILES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
"""Where Fast DDS finds its settings: before version 3, and since (Kilted, rclpy 9), which takes the
old name too but warns."""
_DOMAINS = range(1, 101)
"""Domains whose ports stay below Linux's ephemeral ones; 0 is the default and left to others."""
_claims: dict[int, socket.socket] = {}
"""What keeps the domains that this process chose its own."""


def choose_domain() -> int:
    """Set ROS_DOMAIN_ID and the discovery range in the environment, where the user did not.

    Must be called before `rclpy.init`.

    Returns:
        The domain that will be used.

    Raises:
        ConfigError: if ROS_DOMAIN_ID is none that can be.
    """
    stay_on_this_machine()
    if 'ROS_DOMAIN_ID' not in os.environ:
        candidates = list(_DOMAINS)
        random.SystemRandom().shuffle(candidates)
        free = next((domain for domain in candidates if _take(domain)), candidates[0])
        os.environ['ROS_DOMAIN_ID'] = str(free)
    return _chosen_domain()


def stay_on_this_machine() -> int:
    """Set the discovery range and the interface in the environment, where the user did not.

    The range alone keeps Fast DDS from looking further; its ports would be open to the network.
    For a graph whose arm or camera is driven by others: they share the user's domain. Must be
    called before `rclpy.init`.

    Returns:
        The domain that will be used.

    Raises:
        ConfigError: if ROS_DOMAIN_ID is none that can be.
    """
    os.environ.update(one_machine_environment(os.environ))
    return _chosen_domain()


def init_ros(args: Sequence[str] | None = None, context: Any = None) -> None:
    """Start rclpy without its signal handlers.

    Args:
        args: ROS arguments; None takes those of the command line.
        context: of rclpy; None for the process's.

    Raises:
        ConfigError: if it cannot start with these arguments and the environment.
    """
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    _chosen_domain()
    with starting_ros():
        rclpy.init(args=None if args is None else list(args), context=context,
                   signal_handler_options=SignalHandlerOptions.NO)


@contextlib.contextmanager
def starting_ros() -> Iterator[None]:
    """Turn what rclpy raises into one line; the middleware starts with a context's first node.

    Raises:
        ConfigError: if the block raises, as with arguments or an environment that cannot be.
    """
    try:
        yield
    except Exception as error:  # rclpy has classes of its own on each distribution
        raise ConfigError(
            f'ROS 2 cannot start ({plain(first_line(error), 300)}); look at the ROS arguments, and '
            'at ROS_LOG_DIR, ROS_HOME, ROS_STATIC_PEERS, HOME and RMW_IMPLEMENTATION in the '
            'environment') from error


def _chosen_domain() -> int:
    text = os.environ.get('ROS_DOMAIN_ID') or '0'
    if not text.isdecimal() or len(text) > 9 or int(text) > LAST_DOMAIN:
        raise ConfigError(f"ROS_DOMAIN_ID is '{plain(text, 60)}'; set a whole number from 0 to "
                          f'{LAST_DOMAIN}, or none')
    return int(text)


def one_machine_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that keep a process on this machine, but for those that are given.

    Args:
        environment: what the process would have without them.
    """
    if {'ROS_LOCALHOST_ONLY', 'ROS_AUTOMATIC_DISCOVERY_RANGE'} & environment.keys():
        return {}
    variables = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}  # Jazzy and later
    if not set(_PROFILES) & environment.keys():
        variables[_profile_variable()] = str(share_file('config/loopback.xml'))
    return variables


def _profile_variable() -> str:
    for distribution in ('rclpy', 'ros-rclpy'):  # of a ROS installation, of the wheels
        with contextlib.suppress(PackageNotFoundError):
            return _PROFILES[int(version(distribution).split('.')[0]) >= 9]
    return _PROFILES[0]


def _take(domain: int) -> bool:
    """Claim a domain; False if another process of this machine uses it or has claimed it.

    The kernel gives a port to one process only, so of two that choose at once one looks further;
    and takes it back when the process ends, however it ends.
    """
    first = _PORT_BASE + _PORTS_PER_DOMAIN * domain
    claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        try:
            claim.bind(('127.0.0.1', first + _SPARE_OFFSET))
            participant.bind(('', first + _UNICAST_OFFSET))
        except OSError:
            claim.close()
            return False
    _claims[domain] = claim
    return True

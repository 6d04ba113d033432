# SPDX-License-Identifier: Apache-2.0
"""The contract of an import: which topics of a bag are camera, joints and action, at which rate.

A contract is a YAML file. Every key may be left out; the defaults read what `samg run arm --record`
and ros2_control arms publish:

    cameras: {front: /camera/image_raw}    # name -> topic; default: the only camera of the bag
    joint_topics: [/joint_states]          # default: every JointState topic called joint_states
    joints: [joint_1, joint_2]             # order of the state; default: as first published
    action: /command                       # a topic, or next_joints; default: command if recorded
    rate_hz: 10                            # default: every frame of the first camera
    tolerance_s: 0.05                      # largest difference of stamps in one sample
    max_gap_s: 0.5                         # a longer pause ends the episode
    clock: header                          # header: stamps of the messages; log: time of recording
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from samg_ros.errors import ConfigError
from samg_ros.files.schema import read_yaml

NEXT_JOINTS = 'next_joints'
"""The action is the joint positions of the next sample: for an arm that a person moves by hand."""
CLOCKS = ('header', 'log')


@dataclass(frozen=True)
class Contract:
    """How the topics of a bag become samples."""

    cameras: Mapping[str, str] = field(default_factory=dict)
    """Name of the camera -> topic; empty takes the only camera of the bag, under `camera`."""
    joint_topics: tuple[str, ...] = ()
    """Topics of joint states; empty takes all that are called joint_states."""
    joints: tuple[str, ...] = ()
    """Joint names in the order of the state; empty takes them as they are first published."""
    action: str = ''
    """Topic of the action, or NEXT_JOINTS; empty takes the topic called `command` if the bag has
    one, else NEXT_JOINTS."""
    rate_hz: float = 0.0
    """Samples per second; 0 takes every frame of the first camera."""
    tolerance_s: float = 0.05
    """Largest difference of stamps within one sample."""
    max_gap_s: float = 0.5
    """A pause longer than this ends the episode."""
    clock: str = 'header'
    """One of CLOCKS."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: for the first that cannot be used.
        """
        for name in ('rate_hz', 'tolerance_s', 'max_gap_s'):
            value = getattr(self, name)
            if not 0 <= value < 1e6:
                raise ConfigError(f'{name} must be a number from 0, got {value!r}')
        if self.clock not in CLOCKS:
            raise ConfigError(f'clock must be one of {", ".join(CLOCKS)}, got {self.clock!r}')
        if len(set(self.joints)) < len(self.joints):
            raise ConfigError(f'joints names a joint twice: {", ".join(self.joints)}')


def load_contract(path: Path | str) -> Contract:
    """Read a contract from a YAML file.

    Raises:
        ConfigError: if the file cannot be read, or a key or value cannot be used.
    """
    return read_yaml(Path(path).expanduser(), Contract, ConfigError)

# SPDX-License-Identifier: Apache-2.0
"""Which topics of a bag are what, and what their messages say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from samg_ros.bags.bag import Bag
from samg_ros.errors import BagError
from samg_ros.ros.messages.images import compressed_to_rgb, image_to_rgb

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
JOINT_STATE, ARRAY = 'sensor_msgs/msg/JointState', 'std_msgs/msg/Float64MultiArray'
MADE_FROM_CAMERA = ('segmentation', 'mask', 'overlay')
"""Last names of image topics that no camera sends."""
_TYPES = {'image': (IMAGE, COMPRESSED), 'truth': (IMAGE,), 'joint_states': (JOINT_STATE,),
          'command': (ARRAY,), 'time_step': (ARRAY,)}
"""Field of Topics -> what may come there."""


@dataclass(frozen=True)
class Topics:
    """The topics that an evaluation reads; None for what the bag lacks."""

    image: str
    truth: str | None
    joint_states: str | None
    command: str | None
    time_step: str | None

    @property
    def all(self) -> tuple[str, ...]:
        """The topics that the bag has."""
        return tuple(filter(None, (self.image, self.truth, self.joint_states, self.command,
                                   self.time_step)))


def find_topics(bag: Bag, image: str | None = None, truth: str | None = None,
                joint_states: str | None = None, command: str | None = None,
                more_cameras: Sequence[str] = ()) -> Topics:
    """Find the topics of an evaluation by name and type.

    Args:
        bag: to look in.
        image: camera; None takes the only one, or the one called image_raw.
        truth: true masks; None takes `segmentation` beside the image.
        joint_states: None takes the only one of that name; so with the next.
        command: recorded actions.
        more_cameras: names of cameras that are not the one looked for; see `find_more`.

    Raises:
        BagError: if a given topic is not there or of the wrong type, or if there are several to
            choose from.
    """
    check_topics(bag, {'image': image, 'truth': truth, 'joint_states': joint_states,
                       'command': command})
    image = image or find_camera(bag, more_cameras)
    beside = image.removesuffix('/compressed').rpartition('/')[0] + '/segmentation'
    if truth is None and bag.topics.get(beside) == IMAGE:
        truth = beside
    return Topics(image, truth, joint_states or _only(bag, 'joint_states', JOINT_STATE),
                  command or _only(bag, 'command', ARRAY), _only(bag, 'time_step', ARRAY))


def check_topics(bag: Bag, named: Mapping[str, str | None]) -> None:
    """Check that topics are there and carry what they should.

    Args:
        bag: to look in.
        named: field of Topics -> name of a topic; None for none.

    Raises:
        BagError: for the first that is not, with all those that are there.
    """
    for field, name in named.items():
        types = _TYPES[field]
        if name is not None and bag.topics.get(name) not in types:
            found = f'is {bag.topics[name]}' if name in bag.topics else 'is not in the bag'
            raise BagError(f"topic '{name}' {found}; expected {' or '.join(types)} among "
                           f'{_listed(bag)}')


def find_camera(bag: Bag, but: Iterable[str] = ()) -> str:
    """Return the camera topic of a bag: the only one, or the one called image_raw.

    Args:
        bag: to look in.
        but: names of further cameras, which are left out.

    Raises:
        BagError: if there is none, or several to choose from.
    """
    others = {topic for camera in but for topic in _image_topics(camera)}
    found = [name for name, kind in bag.topics.items() if kind in (IMAGE, COMPRESSED)
             and name.rpartition('/')[2] not in MADE_FROM_CAMERA and '/masked/' not in name
             and name not in others]
    raw = [name for name in found if name.endswith('/image_raw')]
    found = raw if len(raw) == 1 else found
    if len(found) == 1:
        return found[0]
    if not found:
        raise BagError(f"'{bag.path}' has no camera image; it has {_listed(bag)}")
    raise BagError(f'several cameras are in the bag: choose one with --image: '
                   f'{", ".join(sorted(found))}')


def find_more(bag: Bag, cameras: Iterable[str], image: str) -> dict[str, str]:
    """Return topic -> name of the further cameras of a policy, found by their names.

    Args:
        bag: to look in.
        cameras: their names.
        image: topic of the main camera.

    Raises:
        BagError: if the bag lacks one, or one is taken for the main camera.
    """
    found = {}
    for camera in cameras:
        there = [topic for topic in _image_topics(camera)
                 if bag.topics.get(topic) in _TYPES['image']]
        if not there:
            raise BagError(f"the policy also sees the camera '{camera}', and the bag has no "
                           f"'{_image_topics(camera)[0]}'; it has {_listed(bag)}")
        if image in there:
            raise BagError(f"'{image}' is of the policy's further camera '{camera}'; name that "
                           'of its main camera with --image')
        found[there[0]] = camera
    return found


def _image_topics(camera: str) -> tuple[str, str]:
    """Return where a further camera publishes in the arm's graph, raw and compressed."""
    return f'/{camera}/image_raw', f'/{camera}/image_raw/compressed'


def _only(bag: Bag, last_name: str, kind: str) -> str | None:
    found = [name for name, of in bag.topics.items()
             if of == kind and name.rpartition('/')[2] == last_name]
    if len(found) > 1:
        raise BagError(f'several topics are called {last_name}: choose one with '
                       f'--{last_name.replace("_", "-")}: {", ".join(sorted(found))}')
    return found[0] if found else None


def _listed(bag: Bag) -> str:
    return ', '.join(f'{name} ({kind})' for name, kind in sorted(bag.topics.items()))


def stamp_ns(message: Any) -> int:
    """Return the header stamp of a message in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def frame_of(message: Any) -> npt.NDArray[np.uint8]:
    """Return the pixels of an image message, raw or compressed.

    Args:
        message: with the fields of sensor_msgs/Image or sensor_msgs/CompressedImage.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        EncodingError: if the pixels cannot be had.
        InvalidInputError: if a raw image does not fit its header.
    """
    if hasattr(message, 'encoding'):
        return np.require(image_to_rgb(message), requirements='W')  # rosbags' arrays are not
    return compressed_to_rgb(message)


def labelled(message: Any) -> dict[str, float]:
    """Return the values of a Float64MultiArray by the labels of its layout, one each."""
    labels = [dimension.label for dimension in message.layout.dim]
    if len(labels) != len(message.data):
        return {}
    return dict(zip(labels, map(float, message.data), strict=True))

# SPDX-License-Identifier: Apache-2.0
"""From recorded bags to a data set of demonstrations.

A bag is read twice: first stamps, joints and actions, which say which frames are needed, then the
pixels of those frames. A bag may hold one episode or many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from samg_ros.bags.bag import Bag, open_bag
from samg_ros.bags.recording import read_metadata, success_of
from samg_ros.bags.topics import frame_of
from samg_ros.demonstrations.alignment import EpisodeSamples, align, describe
from samg_ros.demonstrations.contract import Contract
from samg_ros.demonstrations.episode import ArmEpisode
from samg_ros.demonstrations.lerobot_layout import DatasetInfo
from samg_ros.demonstrations.lerobot_writer import LeRobotWriter
from samg_ros.demonstrations.streams import Streams, read_streams
from samg_ros.errors import BagError, SamgError


@dataclass(frozen=True)
class ImportResult:
    """What came out of an import."""

    episodes: int
    samples: int
    bags: int
    left_out: dict[str, str]
    """Bag -> what was left out of it, in words; bags without loss are not listed."""


def import_bags(paths: Sequence[Path], folder: Path | str, task: str,
                contract: Contract | None = None, size: tuple[int, int] | None = None,
                ) -> ImportResult:
    """Write a data set of the episodes in bags.

    Args:
        paths: bags, see `find_bags`.
        folder: of the data set, new.
        task: what is demonstrated, in words.
        contract: which topics are what; None takes the defaults.
        size: height and width to resize the frames to; None keeps them.

    Raises:
        BagError: if a bag cannot be used; the message names it.
        DemonstrationError: if the data set cannot be written, or bags do not fit together.
    """
    contract = contract or Contract()
    writer: LeRobotWriter | None = None
    left_out: dict[str, str] = {}
    episodes = samples = 0
    try:
        for path in paths:
            notes: Counter[str] = Counter()
            for streams, episode in read_episodes(path, contract, size, notes):
                if writer is None:
                    writer = LeRobotWriter(folder, _describe(task, contract, streams, episode))
                writer.add(episode)
                episodes, samples = episodes + 1, samples + len(episode.stamps)
            if notes:
                left_out[str(path)] = describe(notes)
        if writer is None:
            raise BagError('no bag was given')
        writer.close()
    except BaseException:
        if writer is not None:
            writer.discard()
        raise
    return ImportResult(episodes, samples, len(paths), left_out)


def read_episodes(path: Path, contract: Contract, size: tuple[int, int] | None,
                  notes: Counter[str]) -> Iterator[tuple[Streams, ArmEpisode]]:
    """Yield the episodes of a bag; what is left out is counted in `notes`.

    Raises:
        BagError: if the bag cannot be used; the message names it.
    """
    try:
        bag = open_bag(path)
        success = success_of(read_metadata(path))
        streams = read_streams(bag, contract)
        planned, missing = align(streams, contract)
        notes.update(missing)
        notes.update({f'parts of the file ({loss})': 1 for loss in bag.losses})
        pixels = _Pixels(bag, streams, planned, size)
        for index, samples in enumerate(planned):
            yield streams, ArmEpisode(samples.stamps, pixels.read(index), samples.joints,
                                      samples.actions, success=success, source=str(path))
    except SamgError as error:
        raise BagError(f"'{path}': {error}" if str(path) not in str(error) else str(error)
                       ) from error


class _Pixels:
    """Reads the frames of all episodes of a bag, in one pass over it."""

    def __init__(self, bag: Bag, streams: Streams, planned: Sequence[EpisodeSamples],
                 size: tuple[int, int] | None) -> None:
        self._cameras = {topic: camera for camera, topic in streams.topics.items()}
        self._messages = bag.messages(list(self._cameras))
        self._planned, self._size = planned, size
        self._wanted = {
            camera: {place for each in planned for place in each.frames[camera].tolist()}
            for camera in streams.topics}
        self._passed = dict.fromkeys(streams.topics, 0)
        self._read: dict[str, dict[int, npt.NDArray[np.uint8]]] = {
            camera: {} for camera in streams.topics}

    def read(self, index: int) -> dict[str, npt.NDArray[np.uint8]]:
        """Return camera -> (T, H, W, 3) of an episode; episodes are read in order.

        Raises:
            BagError: if a frame cannot be decoded or frames change their size.
        """
        places = self._planned[index].frames
        while any(self._passed[camera] <= each.max() for camera, each in places.items()):
            topic, _, message = next(self._messages)
            camera = self._cameras[topic]
            if self._passed[camera] in self._wanted[camera]:
                self._read[camera][self._passed[camera]] = self._resized(frame_of(message))
            self._passed[camera] += 1
        try:
            frames = {camera: np.stack([self._read[camera][place] for place in each.tolist()])
                      for camera, each in places.items()}
        except ValueError as error:
            raise BagError('the frames of a camera change their size within an episode') from error
        for camera, each in places.items():
            for place in [known for known in self._read[camera] if known <= each.max()]:
                del self._read[camera][place]
        return frames

    def _resized(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if self._size is None or frame.shape[:2] == self._size:
            return frame
        return np.asarray(cv2.resize(frame, self._size[::-1], interpolation=cv2.INTER_AREA),
                          np.uint8)


def find_bags(paths: Sequence[Path]) -> list[Path]:
    """Return the bags that paths name: a bag itself, or the bags in a folder, sorted by name.

    Raises:
        BagError: if a path is not there or holds no bag.
    """
    bags: list[Path] = []
    for path in paths:
        path = path.expanduser()
        if not path.exists():
            raise BagError(f"there is no bag at '{path}'")
        if path.is_file() or (path / 'metadata.yaml').exists():
            bags.append(path)
            continue
        inside = sorted(each for each in path.iterdir()
                        if each.suffix in ('.mcap', '.db3') or (each / 'metadata.yaml').exists())
        if not inside:
            raise BagError(f"'{path}' is neither a bag nor a folder of bags")
        bags += inside
    return bags


def _describe(task: str, contract: Contract, streams: Streams, episode: ArmEpisode) -> DatasetInfo:
    spacing = float(np.median(np.diff(episode.stamps))) / 1e9
    return DatasetInfo(
        task, contract.rate_hz or round(1 / spacing, 3), streams.joint_names,
        streams.action_names,
        {camera: (frames.shape[1], frames.shape[2]) for camera, frames in episode.frames.items()},
        extra={'contract': asdict(contract)})

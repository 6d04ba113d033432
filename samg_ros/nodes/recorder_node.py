# SPDX-License-Identifier: Apache-2.0
"""Records a whole session into one file, or each demonstration into a file of its own.

`samg run ... --record FILE.mcap` writes a session for `samg eval bag`. The node `recorder` starts
and ends a recording when its services are called: `episode_0000.mcap`, `episode_0001.mcap` and so
on. Each file begins with the metadata record `samg_ros`: the task, the operator's note, the
reference and how frames are masked. It ends with the record `samg_ros.outcome`: whether the
operator marked the episode as a success. Messages are written to disk every half second, so a
recorder that is killed loses less than a second.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from samg_ros.bags.recording import METADATA, OUTCOME, Recording
from samg_ros.errors import BagError, ConfigError, OutputError
from samg_ros.files.outputs import make_folder
from samg_ros.ros.compat import steady_timer
from samg_ros.ros.diagnostics import OK, WARN, Diagnostics, Report
from samg_ros.ros.messages import mask_quality
from samg_ros.ros.node import PlainNode
from samg_ros.ros.parameters import declare
from samg_ros.ros.publishers import UniqueName
from samg_ros.ros.topic_recorder import TopicRecorder
from samg_ros.sim.tasks import COMMAND_TOPICS

TOPICS = {
    'camera/image_raw': Image, 'camera/camera_info': CameraInfo, 'camera/segmentation': Image,
    'masked/image_raw': Image, 'masked/camera_info': CameraInfo, 'masked/mask': Image,
    mask_quality.TOPIC: Float64MultiArray, 'policy/trace': String,
    'joint_states': JointState, 'time_step': Float64MultiArray, 'command': Float64MultiArray,
    **dict.fromkeys(COMMAND_TOPICS.values(), Float64MultiArray)}
"""Inputs, masks and commands of one camera; a topic without a publisher is left out."""
FLUSH_S = 0.5
"""How often what has come is handed to the system."""
_SIDE = {'camera/camera_info': CameraInfo, 'joint_states': JointState,
         'time_step': Float64MultiArray, 'leader/joint_states': JointState,
         COMMAND_TOPICS['position']: Float64MultiArray, 'command': Float64MultiArray,
         'trajectory': JointTrajectory}
"""What is recorded beside the camera, as far as it is published."""


class Recorder(PlainNode):
    """Writes TOPICS into a file while it lives, and what further cameras have of them."""

    def __init__(self, path: Path, more_cameras: Sequence[str] = (), **options: Any) -> None:
        """Begin to record.

        Args:
            path: MCAP file to write.
            more_cameras: names of further cameras.
            **options: of the node.

        Raises:
            BagError: if the file is there already or cannot be written.
        """
        self._recording = Recording(path)  # first: without a file there is no node
        super().__init__('recorder', **options)
        self._tap = TopicRecorder(self, self._recording, {
            **TOPICS, **{topic: kind for name in more_cameras
                         for topic, kind in _topics_of(name).items()}})

    @property
    def count(self) -> int:
        """Messages written."""
        return sum(self._tap.counts.values())

    def close(self) -> None:
        """Finish the file."""
        self._recording.close()


class EpisodeRecorder(PlainNode):
    """The node. Parameters are described where they are declared."""

    def __init__(self, **options: Any) -> None:
        """Begin to wait for the first episode.

        Raises:
            ConfigError: if no folder is given, or a setting is not usable.
            OutputError: if the folder cannot be made.
        """
        super().__init__('recorder', **options)
        folder = declare(self, 'folder', '', 'Folder for the bags; made if missing.')
        if not folder:
            raise ConfigError("recorder needs a folder for the bags: set its parameter 'folder'")
        self._folder = make_folder(Path(folder).expanduser())
        compressed = declare(self, 'compressed', False, 'Record the JPEG images of the camera in '
                             'place of the raw ones.')
        described = {
            'task': declare(self, 'task', '', 'What is demonstrated, in words.'),
            'note': declare(self, 'note', '', "The operator's note."),
            'reference': declare(self, 'reference', '', 'Reference folder that says what matters, '
                                 'for whoever learns from the bags.'),
            'masker': declare(self, 'masker', '', 'Masking model and its settings, as JSON; empty '
                              'where nothing is masked.')}
        self._described = {name: value for name, value in described.items() if value}
        self._topics: dict[str, Any] = {
            **({'camera/image_raw/compressed': CompressedImage} if compressed
               else {'camera/image_raw': Image}), **_SIDE}
        more = declare(self, 'more_cameras', [''], 'Names of further cameras, whose images come '
                       'on NAME/image_raw.')
        for camera in filter(None, more):
            ending, kind = ('/compressed', CompressedImage) if compressed else ('', Image)
            self._topics[f'{camera}/image_raw{ending}'] = kind
        self._recording: Recording | None = None
        self._path = Path()
        self._success = False
        self.episodes = 0
        """Episodes that were kept."""
        # Listening begins with the node: discovery takes longer than a button.
        self._tap = TopicRecorder(self, _Discarding(lambda: self._recording), self._topics)
        for name, answer in (('start', self._start), ('stop', self._stop),
                             ('discard', self._discard), ('mark_success', self._mark_success)):
            self.create_service(Trigger, f'~/{name}', _answering(answer))
        steady_timer(self, FLUSH_S, self._flush)
        self.diagnostics = Diagnostics(self)
        self.diagnostics.add('recorder', self._report)
        UniqueName(self, self._on_name_conflict)

    def close(self) -> None:
        """Finish the episode that is being recorded, if any."""
        if self._recording is not None:
            self._stop()

    def _start(self) -> str:
        if self._recording is not None:
            raise BagError(f"'{self._path.name}' is being recorded; stop or discard it first")
        index = 0
        while (path := self._folder / f'episode_{index:04d}.mcap').exists():
            index += 1
        recording = Recording(path)
        recording.describe(METADATA, self._described)
        self._path, self._success, self._recording = path, False, recording
        self._began_with = self._tap.counts.total()
        return f"recording '{path}'"

    def _stop(self) -> str:
        recording = self._take()
        recording.describe(OUTCOME, {'success': json.dumps(self._success)})
        recording.close()
        self.episodes += 1
        count = self._tap.counts.total() - self._began_with
        return f"'{self._path.name}' has {count} messages, success {json.dumps(self._success)}"

    def _discard(self) -> str:
        recording = self._take()
        recording.close()
        self._path.unlink(missing_ok=True)
        return f"'{self._path.name}' was thrown away"

    def _mark_success(self) -> str:
        if self._recording is None:
            raise BagError('nothing is being recorded; start an episode first')
        self._success = True
        return f"'{self._path.name}' is a success"

    def _take(self) -> Recording:
        """Return the recording, which is no longer written to."""
        if self._recording is None:
            raise BagError('nothing is being recorded; start an episode first')
        recording, self._recording = self._recording, None
        return recording

    def _flush(self) -> None:
        if self._recording is None:
            return
        try:
            self._recording.flush()
        except BagError as error:
            self.error = error

    def _on_name_conflict(self, error: ConfigError) -> None:
        self.error = error

    def _report(self) -> Report:
        values: dict[str, Any] = {'episodes': self.episodes, 'folder': str(self._folder)}
        if self._recording is None:
            return Report(OK, 'not recording', values)
        count = self._tap.counts.total() - self._began_with
        values |= {'file': self._path.name, 'messages': count,
                   'success': json.dumps(self._success)}
        if not count:
            return Report(WARN, 'recording, but nothing has come', values)
        return Report(OK, f"recording '{self._path.name}'", values)


def _topics_of(camera: str) -> dict[str, Any]:
    """Return TOPICS of a further camera: its own and those of its masks, all below its name."""
    return {f'{camera}/{topic.removeprefix("camera/")}': kind for topic, kind in TOPICS.items()
            if topic.startswith(('camera/', 'masked/'))}


class _Discarding:
    """A recording that drops what comes between episodes."""

    def __init__(self, recording: Callable[[], Recording | None]) -> None:
        self._recording = recording

    def add(self, topic: str, kind: str, log_time_ns: int, data: bytes) -> None:
        recording = self._recording()
        if recording is not None:
            recording.add(topic, kind, log_time_ns, data)


def _answering(do: Callable[[], str]) -> Callable[[Any, Any], Any]:
    """Return a service that does something and says what, or why it cannot."""
    def answer(request: Any, response: Any) -> Any:
        try:
            response.message = do()
            response.success = True
        except (BagError, OutputError) as error:
            response.success, response.message = False, str(error)
        return response
    return answer

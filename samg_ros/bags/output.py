# SPDX-License-Identifier: Apache-2.0
"""Writes the masks of a bag as a bag of their own, which plays beside the first.

Every mask has the header and the log time of its frame, so that `ros2 bag play` of both, or any
tool that joins by stamp, puts them together.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError

from samg_ros.bags import messages
from samg_ros.bags.topics import ARRAY, IMAGE
from samg_ros.errors import BagError

MASK, MASKED, COMMAND = '/masked/mask', '/masked/image_raw', '/command'
QUALITY = '/masked/quality'
_VERSION: Literal[8] = 8
"""Of rosbag2's metadata; the next one stores QoS in another way."""


class MaskBag:
    """A bag that is being written, as a context; what is cut short has no index."""

    def __init__(self, folder: str | Path) -> None:
        """Begin a bag.

        Args:
            folder: to make, with metadata.yaml and one MCAP file in compressed chunks.

        Raises:
            BagError: if it is there already or cannot be written.
        """
        try:
            self._writer = Writer(Path(folder), version=_VERSION, storage_plugin=StoragePlugin.MCAP)
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self._writer.open()
        except (WriterError, OSError) as error:
            raise BagError(f"cannot write the bag '{folder}': {error}; choose another --out"
                           ) from error
        self._topics: dict[str, Any] = {}

    def __enter__(self) -> MaskBag:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._writer.__exit__(kind, error, trace)

    def add(self, header: Any, log_time_ns: int, mask: npt.NDArray[np.bool_],
            masked: npt.NDArray[np.uint8], action: npt.NDArray[np.float64] | None) -> None:
        """Write what belongs to one frame.

        Args:
            header: of the frame's message.
            log_time_ns: when the frame was recorded.
            mask: (H, W) bool.
            masked: (H, W, 3) uint8 RGB.
            action: (A,) of the policy; None for none.
        """
        self._image(MASK, log_time_ns, header, mask.view(np.uint8) * np.uint8(255), 'mono8')
        self._image(MASKED, log_time_ns, header, masked, 'rgb8')
        if action is not None:
            self._write(COMMAND, ARRAY, log_time_ns, messages.array(action))

    def _image(self, topic: str, log_time_ns: int, header: Any, pixels: npt.NDArray[np.uint8],
               encoding: str) -> None:
        self._write(topic, IMAGE, log_time_ns, messages.image(header, pixels, encoding))

    def _write(self, topic: str, kind: str, log_time_ns: int, message: Any) -> None:
        if topic not in self._topics:
            self._topics[topic] = self._writer.add_connection(topic, kind, typestore=messages.STORE)
        self._writer.write(self._topics[topic], log_time_ns,
                           messages.STORE.serialize_cdr(message, kind))

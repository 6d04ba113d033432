# SPDX-License-Identifier: Apache-2.0
"""Bags as recorders write them, from real pixels, and a masker that knows what is in them."""

import cv2
import numpy as np
import pytest
from mcap.writer import Writer as PublicWriter
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from samg_ros.masking import Masker, MaskerSettings, Reference

STORE = get_typestore(Stores.ROS2_KILTED)
TYPES = STORE.types
SIDE = 48
COUNT = 12
PERIOD_NS = 50_000_000
BEGIN_NS = 1_700_000_000_000_000_000
LATE_NS = 3_000_000
"""By which the recorder is behind the stamps."""


def header(stamp):
    time = TYPES['builtin_interfaces/msg/Time'](sec=stamp // 10**9, nanosec=stamp % 10**9)
    return TYPES['std_msgs/msg/Header'](stamp=time, frame_id='camera_optical')


def image(stamp, pixels, encoding='rgb8'):
    return 'sensor_msgs/msg/Image', TYPES['sensor_msgs/msg/Image'](
        header=header(stamp), height=pixels.shape[0], width=pixels.shape[1], encoding=encoding,
        is_bigendian=0, step=pixels.size // pixels.shape[0],
        data=np.ascontiguousarray(pixels).reshape(-1))


def compressed(stamp, pixels):
    data = cv2.imencode('.png', pixels[..., ::-1])[1].reshape(-1)
    return 'sensor_msgs/msg/CompressedImage', TYPES['sensor_msgs/msg/CompressedImage'](
        header=header(stamp), format='rgb8; png compressed bgr8', data=data)


def joint_state(stamp, names, positions):
    empty = np.array([], np.float64)
    return 'sensor_msgs/msg/JointState', TYPES['sensor_msgs/msg/JointState'](
        header=header(stamp), name=list(names), position=np.array(positions, np.float64),
        velocity=empty, effort=empty)


def array(values, labels):
    dimensions = [TYPES['std_msgs/msg/MultiArrayDimension'](label=label, size=size, stride=size)
                  for label, size in labels]
    layout = TYPES['std_msgs/msg/MultiArrayLayout'](dim=dimensions, data_offset=0)
    return 'std_msgs/msg/Float64MultiArray', TYPES['std_msgs/msg/Float64MultiArray'](
        layout=layout, data=np.array(values, np.float64))


def scene(index):
    """(SIDE, SIDE, 3) uint8 and (SIDE, SIDE) bool: an orange disc that moves over blue noise."""
    rng = np.random.default_rng(index)
    pixels = rng.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
    pixels[..., 2] += 80
    row, column = np.mgrid[:SIDE, :SIDE]
    mask = (row - 24) ** 2 + (column - 14 - index % COUNT) ** 2 < 100
    pixels[mask] = (230, 140, 20)
    return pixels, mask


def stamps(count=COUNT):
    return [BEGIN_NS + i * PERIOD_NS for i in range(count)]


def session(make=image, name='/camera/image_raw', truth=True, count=COUNT):
    """Topic, log time and message of frames, with their truth."""
    messages = []
    for i, stamp in enumerate(stamps(count)):
        pixels, mask = scene(i)
        messages.append((name, stamp + LATE_NS, *make(stamp, pixels)))
        if truth:
            messages.append(('/camera/segmentation', stamp + LATE_NS,
                             *image(stamp, mask.view(np.uint8) * np.uint8(255), 'mono8')))
    return messages


def write(folder, messages, storage='mcap', compression='none', chunk_bytes=None):
    """Write a bag with rosbags' writer, as `ros2 bag record` would.

    Its chunks of MCAP have a megabyte unless told otherwise.
    """
    writer = Writer(folder, version=8, storage_plugin=StoragePlugin[storage.upper()])
    writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, log_time, kind, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            data = message if isinstance(message, bytes) else STORE.serialize_cdr(message, kind)
            writer.write(connections[topic], log_time, data)
            if chunk_bytes and storage == 'mcap' and \
                    writer.storage.chunk.bio.tell() > chunk_bytes:
                writer.storage.close_chunk()
    return folder


def write_checked(folder, messages, chunk_bytes, profile='ros2', encoding=None, **options):
    """Write a bag with the public `mcap` library, which adds checksums, and no metadata.yaml."""
    folder.mkdir()
    writer = PublicWriter(str(folder / 'bag.mcap'), chunk_size=chunk_bytes, **options)
    writer.start(profile)
    ros1 = profile == 'ros1'
    serialize = STORE.serialize_ros1 if ros1 else STORE.serialize_cdr
    channels = {}
    for topic, log_time, kind, message in messages:
        if topic not in channels:
            definition, _ = STORE.generate_msgdef(kind, ros_version=1 if ros1 else 2)
            schema = writer.register_schema(kind.replace('/msg/', '/') if ros1 else kind,
                                            'ros1msg' if ros1 else 'ros2msg', definition.encode())
            channels[topic] = writer.register_channel(
                topic, encoding or ('ros1' if ros1 else 'cdr'), schema)
        writer.add_message(channels[topic], log_time, bytes(serialize(message, kind)), log_time)
    writer.finish()
    return folder


@pytest.fixture(scope='session')
def reference():
    pixels, mask = scene(4)
    return Reference(pixels, mask)


@pytest.fixture(scope='session')
def masker(reference):
    return Masker.load('mini', MaskerSettings(fit_weights=False)).fit(reference)

# SPDX-License-Identifier: Apache-2.0
"""`samg bench graph --peak`: the highest rate of frames that `perception` keeps up with.

The method of NVIDIA's ros2_benchmark: input made beforehand is published at a fixed rate, the rate
is halved in on, and the highest at which fewer than 5 % of the messages are lost on the way to a
listener is tried once more for longer. Latency and jitter are taken there, at the listener.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from samg_ros.errors import ConfigError

MOST_DROPPED = 0.05
INPUT_FRAMES = 16
"""Made beforehand and published in turn."""
_BISECTIONS = 6
_CONFIRMATIONS = 6
_SETTLED_S = 1.0
"""What has not come out so long after the last publication is dropped."""


@dataclass(frozen=True)
class RateTrial:
    """What was measured at one input rate."""

    rate_hz: float
    """Asked for."""
    sent_hz: float
    """What the publisher reached."""
    sent: int
    received: int
    dropped: float
    """Share of what was sent."""
    latency_median_ms: float
    """From before the publication of a frame to its mask at the listener, in this process."""
    latency_p95_ms: float
    latency_max_ms: float
    jitter_median_ms: float
    """Of the times between two results, their distance from the mean one."""
    jitter_p95_ms: float
    jitter_max_ms: float

    @property
    def kept(self) -> bool:
        """Whether the rate was really sent and hardly anything of it lost."""
        return self.dropped < MOST_DROPPED and self.sent_hz > (1 - MOST_DROPPED) * self.rate_hz


@dataclass(frozen=True)
class Peak:
    """The highest rate, and every rate that was tried."""

    input_sha256: str
    """Of the frames that were published, in their order."""
    input_frames: int
    at: RateTrial
    tried: tuple[RateTrial, ...]

    @property
    def lines(self) -> list[str]:
        """The figures for people."""
        at = self.at
        return [f'highest input rate         {at.rate_hz:10.2f} Hz  ({at.received} of {at.sent} '
                f'frames came out, {at.dropped:.1%} dropped; bar {MOST_DROPPED:.0%})',
                f'latency there       median {at.latency_median_ms:10.2f} ms  p95 '
                f'{at.latency_p95_ms:.2f}  most {at.latency_max_ms:.2f}',
                f'jitter there        median {at.jitter_median_ms:10.2f} ms  p95 '
                f'{at.jitter_p95_ms:.2f}  most {at.jitter_max_ms:.2f}',
                f'input: {self.input_frames} frames in turn, SHA-256 {self.input_sha256[:16]}']


def find_peak(messages: list[Any], publish: Callable[[Any], int],
              results: list[tuple[int, float]], spin_once: Callable[[], None], guess_hz: float,
              seconds: float) -> Peak:
    """Search for the highest rate.

    Args:
        messages: sensor_msgs/Image, published in turn.
        publish: publishes one with the next stamp and returns the stamp's seconds.
        results: where the listener appends the stamp's seconds and the time of each result.
        spin_once: lets listener and node work for some hundredths of a second at most.
        guess_hz: highest rate that is thought of.
        seconds: that a trial takes; the last one takes twice as long.

    Raises:
        ConfigError: if frames are lost at every rate.
    """
    digest = hashlib.sha256()
    for message in messages:
        digest.update(bytes(message.data))

    def trial(rate_hz: float, lasting_s: float) -> RateTrial:
        return _trial(messages, publish, results, spin_once, rate_hz, lasting_s)

    tried: list[RateTrial] = []
    low, high = 0.0, guess_hz
    for _ in range(_BISECTIONS):
        tried.append(trial((low + high) / 2, seconds))
        low, high = (tried[-1].rate_hz, high) if tried[-1].kept else (low, tried[-1].rate_hz)
    rate_hz = low or high / 2
    for _ in range(_CONFIRMATIONS):  # a shorter trial may have been lucky
        tried.append(trial(rate_hz, 2 * seconds))
        if tried[-1].kept:
            return Peak(digest.hexdigest(), len(messages), tried[-1], tuple(tried))
        rate_hz *= 0.8
    raise ConfigError(f'--peak: of frames at {tried[-1].rate_hz:.2f} Hz {tried[-1].dropped:.0%} '
                      'are lost, and more at higher rates; the computer is busy with other work, '
                      'or the trials (--peak SECONDS) are too short')


def _trial(messages: list[Any], publish: Callable[[Any], int], results: list[tuple[int, float]],
           spin_once: Callable[[], None], rate_hz: float, seconds: float) -> RateTrial:
    count = max(10, round(rate_hz * seconds))
    sent_at: dict[int, float] = {}
    results.clear()

    def publish_all() -> None:
        begin = time.monotonic()
        for index in range(count):
            time.sleep(max(0.0, begin + index / rate_hz - time.monotonic()))
            began = time.monotonic()
            sent_at[publish(messages[index % len(messages)])] = began

    camera = threading.Thread(target=publish_all, daemon=True)
    camera.start()
    while camera.is_alive() or (len(results) < count and time.monotonic()
                                - max(list(sent_at.values())[-1], results[-1][1] if results else 0)
                                < _SETTLED_S):
        spin_once()
    times = np.array(list(sent_at.values()))
    came = {stamp: at for stamp, at in list(results) if stamp in sent_at}
    latencies = 1e3 * np.array([at - sent_at[stamp] for stamp, at in came.items()] or [np.nan])
    between = 1e3 * np.diff(sorted(came.values()))
    jitter = np.abs(between - between.mean()) if len(between) else np.array([np.nan])
    return RateTrial(
        rate_hz, float((count - 1) / (times[-1] - times[0])), count, len(came),
        1 - len(came) / count,
        *(float(one) for values in (latencies, jitter)
          for one in (np.median(values), np.percentile(values, 95), values.max())))

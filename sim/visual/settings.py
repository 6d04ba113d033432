# SPDX-License-Identifier: Apache-2.0
"""The visual settings of the DMControl Generalization Benchmark, as data.

A setting says what is replaced behind the robot and which colours change; the rewards and the
physics never do.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np

from samg_ros.errors import UnknownSettingError
from samg_ros.sim.render import FLOOR, SKY


@dataclass(frozen=True)
class Setting:
    """One visual setting."""

    name: str
    description: str
    replaced: tuple[int, ...] = ()
    """Labels (`render.SKY`, `render.FLOOR`) whose pixels show a video."""
    colours: str | None = None
    """Name of the list of colours that robot, floor and sky take, or None."""

    @property
    def has_video(self) -> bool:
        return bool(self.replaced)


SETTINGS: dict[str, Setting] = {setting.name: setting for setting in (
    Setting('train', 'as the task comes'),
    Setting('color_easy', 'robot, floor and sky in other, similar colours', colours='color_easy'),
    Setting('color_hard', 'robot, floor and sky in any colours', colours='color_hard'),
    Setting('video_easy', 'a video for the sky', replaced=(SKY,)),
    Setting('video_hard', 'a video for sky and floor', replaced=(SKY, FLOOR)),
)}


def get_setting(name: str) -> Setting:
    """Return the setting of this name.

    Raises:
        UnknownSettingError: if there is none; the message names the known ones.
    """
    if name in SETTINGS:
        return SETTINGS[name]
    close = difflib.get_close_matches(str(name), SETTINGS, n=1, cutoff=0.5)
    hint = f'did you mean {close[0]}? ' if close else ''
    raise UnknownSettingError(
        f"no visual setting is called '{name}'; {hint}known: {', '.join(SETTINGS)}")


def composite(frame: np.ndarray, labels: np.ndarray, replaced: tuple[int, ...],
              background: np.ndarray) -> None:
    """Put a background where the label image says, in place.

    Args:
        frame: (H, W, 3) uint8, changed.
        labels: (H, W) uint8, see `render`.
        replaced: labels whose pixels are replaced.
        background: (H, W, 3) uint8.
    """
    behind = labels == replaced[0]
    for label in replaced[1:]:
        behind |= labels == label
    np.copyto(frame, background, where=behind[:, :, None])

# SPDX-License-Identifier: Apache-2.0
"""Whether what arrives is what a policy was trained on, and if not, how it differs.

A network takes any picture of the right size and gives an action for it. That the picture means
what it meant in training has to be checked by someone, before an arm moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from samg_ros.masking.identity import differences
from samg_ros.observation import ObservationSpec
from samg_ros.rl.config import TrainConfig

_ASPECT_TOLERANCE = 0.02
"""By how much the sides of a picture may be out of proportion; 2 % is not visible."""


def frame_mismatch(config: TrainConfig, crop: tuple[int, int, int, int] | None, height: int,
                 width: int) -> str | None:
    """Say why frames of a size do not fit a policy.

    Args:
        config: of the policy's training.
        crop: what is cut out of the frames, x, y, width, height; None takes all.
        height: of the frames, pixels.
        width: likewise.

    Returns:
        One line; None if they fit.
    """
    trained = config.observation.crop
    trained_width, trained_height = trained[2:] if trained else (config.camera_size,) * 2
    x, y, seen_width, seen_height = crop or (0, 0, width, height)
    if x + seen_width > width or y + seen_height > height:
        return (f'frames are {width} x {height} pixels, and the crop of {seen_width} x '
                f"{seen_height} at {x}, {y} reaches outside; change the parameter 'crop' or the "
                "camera's size")
    seen = f'{seen_width} x {seen_height}' + (f' (cropped from {width} x {height})' if crop else '')
    before = f'the policy was trained on {trained_width} x {trained_height}'
    if abs(seen_width * trained_height / (seen_height * trained_width) - 1) > _ASPECT_TOLERANCE:
        return (f'frames are {seen} pixels, {before}: out of proportion; set the parameter '
                "'crop' (x, y, width, height) to the part that the camera saw in training")
    least = min(config.observation.size, trained_width, trained_height)
    if min(seen_width, seen_height) < least:
        return (f'frames are {seen} pixels, {before}: too few to see as much; take a larger '
                "image of the camera, or a larger 'crop'")
    return None


def joints_mismatch(wanted: Sequence[str], names: Sequence[str], positions: int) -> str | None:
    """Say why a joint state does not fit a policy and its arm.

    Args:
        wanted: joints that must be there.
        names: joints in the message.
        positions: how many positions it has.

    Returns:
        One line; None if it fits.
    """
    if len(names) != positions:
        return f'a joint state has {len(names)} names but {positions} positions'
    missing = [joint for joint in wanted if joint not in names]
    if missing:
        return (f'joint states lack {", ".join(missing)}, which the policy or the limits name; '
                f'they have {", ".join(names) or "none"}')
    return None


def masker_mismatch(spec: ObservationSpec, trained: Mapping[str, Any] | None,
                  fill: Sequence[int], running: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Say how the running masker differs from the one in training.

    Args:
        spec: what the policy sees.
        trained: `Masker.describe()` of the checkpoint, None if it has none.
        fill: colour that perception puts outside the mask.
        running: `Masker.describe()` of perception.

    Returns:
        What makes it unusable, and what is only worth knowing; None for nothing.
    """
    if tuple(fill) != spec.fill:
        return (f'perception fills with {list(fill)} outside the mask, the policy was trained on '
                f"{list(spec.fill)}; set perception's parameter 'fill'"), None
    if trained is None:
        return None, 'the checkpoint does not say which masker it was trained behind'
    found = differences(trained, running)
    return None, f'perception masks with {"; ".join(found)}' if found else None



def mask_area(frame: npt.NDArray[np.uint8], fill: tuple[int, int, int]) -> float:
    """Return the share of a masked frame that is not fill, 0 to 1.

    Args:
        frame: (H, W, 3) uint8 RGB.
        fill: RGB colour outside the mask.
    """
    outside = cv2.countNonZero(cv2.inRange(frame, fill, fill))
    return 1.0 - float(outside) / (frame.shape[0] * frame.shape[1])

# SPDX-License-Identifier: Apache-2.0
"""The pinhole model of a MuJoCo camera, as CameraInfo wants it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


def camera_matrix(model: Any, camera_id: int | str, height: int, width: int,
                  ) -> npt.NDArray[np.float64]:
    """Return the intrinsic matrix of a camera.

    MuJoCo cameras have square pixels and their centre in the middle of the image. Pixel centres
    have whole coordinates, as in ROS and OpenCV, so the middle is (W - 1) / 2.

    Args:
        model: `mujoco.MjModel`.
        camera_id: index or name of the camera; -1 is the free camera.
        height: pixels of the image.
        width: pixels of the image.

    Returns:
        (3, 3) float64 in pixels.
    """
    fovy = model.vis.global_.fovy if camera_id == -1 else model.camera(camera_id).fovy[0]
    focal = height / 2 / math.tan(math.radians(fovy) / 2)
    return np.array([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2],
                     [0.0, 0.0, 1.0]])

# SPDX-License-Identifier: Apache-2.0
"""Image to mask: SAM-G's method as a library. PyTorch only; no ROS, no MuJoCo.

>>> masker = Masker.load('mini').fit(Reference.load('my_reference'))
>>> masks = masker(frames)  # (N, H, W, 3) uint8 RGB -> (N, H, W) bool
"""

from samg_ros.masking.frames.prediction import Prediction, apply_mask
from samg_ros.masking.masker import Masker
from samg_ros.masking.references.reference import Reference
from samg_ros.masking.settings import MaskerSettings

__all__ = ['Masker', 'MaskerSettings', 'Prediction', 'Reference', 'apply_mask']

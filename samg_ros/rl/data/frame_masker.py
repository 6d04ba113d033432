# SPDX-License-Identifier: Apache-2.0
"""What the policy sees of a camera frame: masked by the masker, by the true mask, or raw."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samg_ros.errors import ConfigError, InvalidInputError
from samg_ros.evaluation.metrics import mask_iou
from samg_ros.masking import apply_mask
from samg_ros.masking.tracker import Tracker
from samg_ros.observation import ObservationSpec

if TYPE_CHECKING:
    from samg_ros.masking import Masker


class FrameMasker:
    """Cuts out what the policy is to see, by the masker, by the truth, or not at all."""

    def __init__(self, spec: ObservationSpec, masker: 'Masker | None') -> None:
        """Take a masker fitted to the run's reference; needed if the source is 'masked'.

        Raises:
            ConfigError: if it is missing, or fitted to more than a checkpoint carries.
        """
        if spec.source == 'masked':
            if masker is None or masker.reference is None:
                raise ConfigError('training on masked frames needs a masker fitted to a reference')
            references = sum(map(len, masker.objects.values()))
            if references > 1:
                raise ConfigError(
                    'a checkpoint carries one reference of one object, but the masker is fitted '
                    f'to {references}, of {", ".join(masker.objects)}; fit it to one'
                )
        self._spec = spec
        self._tracker = None if masker is None else Tracker(masker)

    def __call__(
        self, frame: NDArray[np.uint8], truth: NDArray[Any] | None, time_ns: int
    ) -> tuple[NDArray[np.uint8], float | None]:
        """Mask the next frame.

        Args:
            frame: (H, W, 3) uint8 RGB camera frame.
            truth: (H, W) bool true mask, None where it is not known.
            time_ns: when it was taken, for a masker with `temporal` 'prior'.

        Returns:
            The frame as the spec wants it, and how well the masker's mask fits the truth: IoU in
            0 to 1, None where there is no masker or no truth.

        Raises:
            InvalidInputError: if the spec wants the truth and there is none.
        """
        if self._spec.source == 'raw':
            return frame, None
        if self._spec.source == 'truth':
            if truth is None:
                raise InvalidInputError(
                    "frames without true masks cannot be masked by them; choose the source "
                    "'masked' or 'raw'"
                )
            return apply_mask(frame, truth, self._spec.fill), None
        assert self._tracker is not None
        mask = self._tracker.mask(frame, time_ns)
        iou = None if truth is None else float(mask_iou(mask, truth))
        return apply_mask(frame, mask, self._spec.fill), iou

# SPDX-License-Identifier: Apache-2.0
"""`perception`: camera images in, masked images out.

The output carries the header of its input. With reliable QoS and a deep enough queue every frame
is masked, which lockstep needs; with the defaults (best effort, depth 1) the newest frame wins, and
frames that it replaced are counted. Frames of several cameras that wait at the same time are masked
in one call; no camera waits for another.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from std_srvs.srv import Trigger

from samg_ros.errors import ConfigError, NotFittedError, SamgError
from samg_ros.masking import Masker, Prediction
from samg_ros.masking.models import load_model
from samg_ros.memory import is_out_of_memory, keep_freed_memory
from samg_ros.perception.camera import CameraStream
from samg_ros.perception.clicks import Clicks
from samg_ros.perception.description import DESCRIPTION_PARAMETER
from samg_ros.perception.frames import Frame, MaskResult
from samg_ros.perception.parameters import LIVE, PerceptionParameters
from samg_ros.perception.references import load_reference
from samg_ros.ros.diagnostics import Diagnostics
from samg_ros.ros.executor import Deferred
from samg_ros.ros.node import ManagedNode
from samg_ros.ros.parameters import declare_torch_threads


class Perception(ManagedNode):
    """The node. Its parameters are described in PerceptionParameters."""

    def __init__(self, **options: Any) -> None:
        super().__init__('perception', **options)
        declare_torch_threads(self)
        self._params = PerceptionParameters.declare(self)
        self.add_on_set_parameters_callback(self._on_parameters)
        self.diagnostics = Diagnostics(self, self._params.model)
        # Masking in the callbacks would let messages pile up in the executor's queue.
        self._turn = Deferred(self, self._mask_waiting)
        self.cameras = [CameraStream(self, name, self._params, self._turn.request)
                        for name in self._params.cameras]
        self.create_service(Trigger, '~/capture_reference', self._on_capture)
        self.create_service(Trigger, '~/clear_points', self._on_clear)
        self._description = ''
        self._targets: dict[tuple[str, ...], Clicks] = {}
        """Paths of references -> the clicks on their objects, which hold the masker."""

    # Lifecycle

    def configure(self) -> None:
        """Load the model, fit it to every camera's references, create the publishers.

        Raises:
            SamgError: if model, weights, device or a reference is not usable.
        """
        params = self._params
        if not all(params.cameras.values()) and not params.wait_for_capture:
            raise ConfigError("perception needs a reference: set its parameter 'reference' to a "
                              'folder (samg reference render makes one), or wait_for_capture')
        weights = params.weights or None
        keep_freed_memory()
        model = load_model(params.model, weights)
        targets: dict[tuple[str, ...], Clicks] = {}
        for name, paths in params.cameras.items():
            if paths in targets:
                continue
            masker = Masker(model, params.settings, params.device, params.model, weights,
                            params.wait_for_engine)
            if paths:
                masker.fit([load_reference(path) for path in paths])
            targets[paths] = Clicks(masker, params.max_points, params.folder_of(name))
        self._targets = targets
        self._describe()
        for camera in self.cameras:
            camera.configure(targets[params.cameras[camera.name]])

    def activate(self) -> None:
        """Begin to listen."""
        for camera in self.cameras:
            camera.activate()

    def deactivate(self) -> None:
        """Stop listening."""
        for camera in self.cameras:
            camera.deactivate()

    def cleanup(self) -> None:
        """Release the model and the publishers."""
        self._targets = {}
        for camera in self.cameras:
            camera.cleanup()

    # Parameters

    def _describe(self) -> None:
        """Set the parameter that says how masks are made; the trainer saves its value."""
        masker = next(iter(self._targets.values())).masker
        self._description = json.dumps(masker.describe())
        # A parameter declared as read-only cannot be declared anew when a setting has changed, so
        # _on_parameters refuses what others want to set.
        if self.has_parameter(DESCRIPTION_PARAMETER):
            self.undeclare_parameter(DESCRIPTION_PARAMETER)
        self.declare_parameter(
            DESCRIPTION_PARAMETER, self._description,
            ParameterDescriptor(description='Masker.describe() as JSON; only this node sets it.'),
            ignore_override=True)

    def _on_parameters(self, parameters: list[Any]) -> SetParametersResult:
        if any(each.name == DESCRIPTION_PARAMETER and each.value != self._description
               for each in parameters):
            return SetParametersResult(successful=False, reason=f'{DESCRIPTION_PARAMETER} says '
                                       'how perception masks; it cannot be set')
        values = {each.name: each.value for each in parameters if each.name in LIVE}
        if not values:
            return SetParametersResult(successful=True)
        try:
            params = self._params.changed(values)
        except SamgError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._params = params
        if self._targets:
            for clicks in self._targets.values():
                clicks.masker.adjust(**params.adjustable)
            self._describe()
        return SetParametersResult(successful=True)

    # Frames

    def _mask_waiting(self) -> None:
        """Mask the next frame of every camera; equal sizes of one masker in one batch if each
        frame is masked by itself.
        """
        together: dict[Any, list[tuple[CameraStream, Frame]]] = {}
        for camera in self.cameras:
            if (frame := camera.take()) is not None:
                together.setdefault((camera.clicks, frame.pixels.shape), []).append((camera, frame))
        for (clicks, _), members in together.items():
            if self._params.settings.temporal == 'off':
                self._mask(clicks.masker.predict, members)
                continue
            for camera, frame in members:
                self._mask(partial(_tracked, camera, frame.stamp_s), [(camera, frame)])
        if any(camera.waiting for camera in self.cameras):
            self._turn.request()

    def _mask(self, predict: Callable[[npt.NDArray[np.uint8]], Prediction],
              members: list[tuple[CameraStream, Frame]]) -> None:
        started = time.perf_counter()
        try:
            prediction = predict(np.stack([frame.pixels for _, frame in members]))
            masks = prediction.masks.cpu().numpy()  # a GPU has done its work only now
        except (SamgError, MemoryError, RuntimeError) as error:
            cause, why = _cause(error)
            for camera, _ in members:
                camera.drops.add(cause, why)
            return
        duration_s = time.perf_counter() - started
        ious = prediction.predicted_iou.amin(dim=1).tolist()
        for index, (camera, frame) in enumerate(members):
            found = MaskResult(masks[index], prediction.similarity[index], ious[index], duration_s,
                          len(members))
            camera.publish(frame, found, self._params.fill)

    # Clicks

    def _on_clear(self, request: Any, response: Any) -> Any:
        if not self._targets:
            response.success, response.message = False, 'perception is not configured'
            return response
        count = sum(map(len, self._targets.values()))
        for clicks in self._targets.values():
            clicks.clear()
        response.success, response.message = True, f'cleared {count} clicked points'
        return response

    def _on_capture(self, request: Any, response: Any) -> Any:
        if not self._targets:
            response.success, response.message = False, 'perception is not configured'
            return response
        targets = list(self._targets.values())
        said = []
        response.success = True
        for clicks in [clicks for clicks in targets if len(clicks)] or targets[:1]:
            try:
                reference = clicks.capture()
            except SamgError as error:
                response.success = False
                said.append(str(error))
                continue
            share = float(np.count_nonzero(reference.mask)) / reference.mask.size
            said.append(f'the reference is what {len(reference.points)} points cut out, '
                        f'{share:.1%} of the frame; look at masked/overlay')
        response.message = '; '.join(said)
        return response


def _tracked(camera: CameraStream, stamp_s: float, frames: npt.NDArray[np.uint8]) -> Prediction:
    """Mask the next frame (1, H, W, 3) of a camera, with a memory of its last one."""
    assert camera.tracker is not None
    return camera.tracker.predict(frames[0], stamp_s)


def _cause(error: Exception) -> tuple[str, str]:
    """Return the name and the text under which frames are dropped after an error of the masker.

    Raises:
        Exception: the error itself, if no frame can be its cause.
    """
    if isinstance(error, NotFittedError):
        return 'no_reference', 'click on the object and call ~/capture_reference'
    if is_out_of_memory(error):
        return 'memory', 'there is not enough memory to mask the image'
    if isinstance(error, SamgError):
        return 'image', str(error)
    raise error

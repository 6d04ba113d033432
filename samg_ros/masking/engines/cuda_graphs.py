# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs: the kernels of one call, recorded once per frame size and replayed.

At batch 1 a frame is some thousand small kernels, and a GPU waits for the host to start each. The
masker asks for no value on the host between upload and download, which is what allows recording.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from samg_ros.masking.frames.decoder_passes import Prompts
from samg_ros.masking.frames.prediction import Prediction

WARM_UP_CALLS = 3  # libraries choose and load their kernels on the first ones
KEPT = 4  # frame shapes; each holds the memory of a whole call


class GraphedCall:
    """A function of a frame tensor whose work is replayed for every shape seen before."""

    def __init__(self, function: Callable[[Tensor], Prediction]) -> None:
        """Wrap a function that never asks for a value on the host."""
        self._function = function
        self._recorded: dict[torch.Size, tuple[torch.cuda.CUDAGraph, Tensor, Prediction]] = {}

    def __call__(self, frames: Tensor) -> Prediction:
        """Return what the function returns for frames on the GPU."""
        if frames.shape not in self._recorded:
            while len(self._recorded) >= KEPT:
                del self._recorded[next(iter(self._recorded))]
            self._recorded[frames.shape] = self._record(frames)
        graph, given, found = self._recorded[frames.shape]
        given.copy_(frames)
        graph.replay()
        return _copied(found)  # the next replay writes over what it found

    def _record(self, frames: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Prediction]:
        given = frames.clone()
        aside = torch.cuda.Stream(frames.device)
        aside.wait_stream(torch.cuda.current_stream(frames.device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP_CALLS):
                self._function(given)
        torch.cuda.current_stream(frames.device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = self._function(given)
        return graph, given, found


def _copied(found: Prediction) -> Prediction:
    values: dict[str, Any] = {}
    for field in fields(found):
        value = getattr(found, field.name)
        values[field.name] = value.clone() if isinstance(value, Tensor) else tuple(
            Prompts(one.points.clone(), one.labels.clone()) for one in value)
    return replace(found, **values)

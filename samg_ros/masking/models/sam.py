# SPDX-License-Identifier: Apache-2.0
"""Segment Anything (arXiv 2304.02643), from the segment_anything package and its .pth files."""

from __future__ import annotations

from pathlib import Path

from samg_ros.errors import MissingDependencyError
from samg_ros.masking.models.loading.weights_io import weight_file
from samg_ros.masking.models.sam_segmenter import SamSegmenter

ARCHITECTURES = {'sam-vit-b': 'vit_b', 'sam-vit-l': 'vit_l', 'sam-vit-h': 'vit_h'}


class SegmentAnything(SamSegmenter):
    """SAM with one of its vision transformers, at an input of 1024."""

    def __init__(self, architecture: str) -> None:
        """Build with random weights; `architecture` is a key of segment_anything's registry."""
        try:
            from segment_anything import sam_model_registry
        except ImportError as error:
            raise MissingDependencyError('segment_anything is not installed; run '
                                         '`pip install segment-anything torchvision`') from error
        encoder = sam_model_registry[architecture]().image_encoder
        super().__init__(encoder, encoder.img_size)


def load_sam(name: str, weights: str | Path | None) -> SegmentAnything:
    """Return SAM with the weights of an official .pth file.

    Args:
        name: a key of ARCHITECTURES.
        weights: the file.

    Raises:
        WeightsError: if there is no file, or it does not fit the architecture.
        MissingDependencyError: if segment_anything is not installed.
    """
    path = weight_file(name, weights)
    model = SegmentAnything(ARCHITECTURES[name])
    model.load_weights(path)
    return model

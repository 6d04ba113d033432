# SPDX-License-Identifier: Apache-2.0
"""Pairs in their real architecture at random weights: for timings and comparisons, not for masks.

What a forward pass costs does not depend on the weights, and no checkpoint need be at hand.
"""

from __future__ import annotations

import torch

from samg_ros.errors import MissingDependencyError, UnknownModelError
from samg_ros.masking.models import efficientvit_sam, mobile_sam, sam
from samg_ros.masking.models.base import ModelPair
from samg_ros.masking.models.dinov2 import INPUT_SIZE, DinoEncoder
from samg_ros.masking.models.loading.random_weights import randomize, settle_batch_norms
from samg_ros.masking.models.sam_segmenter import SamSegmenter

DINOV2 = {'dinov2-s': (384, 12, 6), 'dinov2-b': (768, 12, 12), 'dinov2-l': (1024, 24, 16)}
"""Width, layers, heads (arXiv 2304.07193, table 16)."""


def untrained_model(name: str, seed: int = 0) -> ModelPair:
    """Return a pair at random weights, in evaluation mode.

    Args:
        name: 'encoder+segmenter': DINOv2, and SAM, EfficientViT-SAM or MobileSAM.
        seed: of the weights.

    Raises:
        UnknownModelError: if there is no such pair.
        MissingDependencyError: if a library that a model needs is not installed.
    """
    encoder, _, segmenter = name.partition('+')
    if encoder not in DINOV2:
        raise UnknownModelError(f'model {name!r}: no architecture to fill with random weights; '
                                f'choose one of {", ".join(DINOV2)}, or give weights')
    decoding = _segmenter(segmenter)
    pair = randomize(ModelPair(_dinov2(encoder), decoding), seed)
    decoding.grid_positions = decoding.prompt_encoder.get_dense_pe()  # of random frequencies
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, (1, 84, 84, 3), dtype=torch.uint8, generator=generator)
    settle_batch_norms(pair, lambda: pair.encode(noise))
    return pair


def _dinov2(name: str) -> DinoEncoder:
    try:
        from transformers import Dinov2Config, Dinov2Model
    except ImportError as error:
        raise MissingDependencyError('transformers is not installed; run '
                                     '`pip install transformers`') from error
    width, layers, heads = DINOV2[name]
    config = Dinov2Config(hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
                          image_size=518, patch_size=14)
    return DinoEncoder(Dinov2Model(config), INPUT_SIZE, extra_tokens=1)


def _segmenter(name: str) -> SamSegmenter:
    if name in sam.ARCHITECTURES:
        return sam.SegmentAnything(sam.ARCHITECTURES[name])
    if name in efficientvit_sam.ARCHITECTURES:
        return efficientvit_sam.EfficientViTSam(name)
    if name in mobile_sam.NAMES:
        return mobile_sam.MobileSam()
    known = (*sam.ARCHITECTURES, *efficientvit_sam.ARCHITECTURES, *mobile_sam.NAMES)
    raise UnknownModelError(f'segmenter {name!r}: no architecture to fill with random weights; '
                            f'choose one of {", ".join(known)}, or give weights')

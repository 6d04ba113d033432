# SPDX-License-Identifier: Apache-2.0
"""One fitted masker for the tests that only ask it, and a pair small enough for every test."""

import copy

import numpy as np
import pytest
from torch import nn

from samg_ros.masking import Masker, Reference


@pytest.fixture(scope='session')
def walker(shared_data):
    points = [(40, 24), (23, 68), (68, 57)]  # the published clicks
    return Reference.load(shared_data / 'samg_references' / 'walker_0.png').with_points(points)


@pytest.fixture(scope='session')
def frames(walker):
    """(20, 84, 84, 3): the walker's picture, moved."""
    rng = np.random.default_rng(1)
    return np.stack([np.roll(walker.image, tuple(rng.integers(-12, 13, 2)), (0, 1))
                     for _ in range(20)])


@pytest.fixture(scope='session')
def recoloured(walker):
    """The walker's picture with its red, green and blue exchanged, and nothing else."""
    return np.where(walker.mask[..., None], walker.image[..., [2, 0, 1]], walker.image)


@pytest.fixture(scope='session')
def masker(walker):
    return Masker.load('mini').fit(walker)


@pytest.fixture(scope='session')
def random_pair():
    """DINOv2 + SAM with two thin encoders and SAM's whole decoder, at random weights."""
    transformers = pytest.importorskip('transformers')
    pytest.importorskip('segment_anything')
    from samg_ros.masking.models.base import ModelPair
    from samg_ros.masking.models.dinov2 import DinoEncoder
    from samg_ros.masking.models.loading.random_weights import randomize
    from samg_ros.masking.models.sam_segmenter import SamSegmenter
    config = transformers.Dinov2Config(hidden_size=48, num_hidden_layers=1, num_attention_heads=3,
                                       image_size=518, patch_size=14)
    encoder = nn.Sequential(nn.Conv2d(3, 32, 4, 4), nn.GELU(), nn.Conv2d(32, 256, 1))
    pair = ModelPair(DinoEncoder(transformers.Dinov2Model(config), 448, 1),
                     SamSegmenter(encoder, 256))
    randomize(pair, seed=0)
    # Saved buffers were randomised too; what SAM derives from them follows.
    pair.segmenter.grid_positions = pair.segmenter.prompt_encoder.get_dense_pe()
    return pair


@pytest.fixture
def pair(random_pair):
    return copy.deepcopy(random_pair)


@pytest.fixture(scope='session')
def pair_masker(random_pair, walker):
    return Masker(copy.deepcopy(random_pair)).fit(walker)

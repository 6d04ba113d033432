# SPDX-License-Identifier: Apache-2.0
"""SVEA (Hansen et al. 2021, arXiv 2107.00644): DrQ-v2 with a critic that also sees worse pictures.

The critic is asked about the observations as they are and about strongly augmented copies, and
has to give both the same values. Those come from unaugmented ones, and the actor learns from
unaugmented ones alone, so that the augmentation adds no variance to either.
"""

import torch
from torch import Tensor

from samg_ros.rl.agents.augmentation import overlay, random_convolution
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.agents.overlay_pictures import load_pictures
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.data.replay import Batch


class SveaAgent(DrQv2Agent):
    """DrQ-v2 with SVEA's loss of the critics."""

    def __init__(self, config: TrainConfig, actions: int, device: str = 'cpu') -> None:
        """Build the networks; arguments as for DrQv2Agent.

        Raises:
            ConfigError: if the pictures to overlay cannot be had.
        """
        super().__init__(config, actions, device)
        self._pictures: Tensor | None = None
        if config.strong_augmentation == 'overlay' and config.svea_beta:
            size = config.observation.size
            pictures = load_pictures(config.overlay_images, size, config.seed)
            self._pictures = pictures.to(self.device)

    def _critic_loss(
        self, batch: Batch, pixels: Tensor, encoded: Tensor, target: Tensor
    ) -> Tensor:
        loss = super()._critic_loss(batch, pixels, encoded, target)
        alpha, beta = self.config.svea_alpha, self.config.svea_beta
        if not beta:
            return alpha * loss
        seen = self.encoder(self._augment(pixels))
        return alpha * loss + beta * super()._critic_loss(batch, pixels, seen, target)

    def _augment(self, pixels: Tensor) -> Tensor:
        if self._pictures is None:
            return random_convolution(pixels, self.generator)
        drawn = torch.randint(
            len(self._pictures), (len(pixels),), generator=self.generator, device=self.device
        )
        return overlay(pixels, self._pictures[drawn])

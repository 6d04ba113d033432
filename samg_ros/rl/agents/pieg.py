# SPDX-License-Identifier: Apache-2.0
"""PIE-G (Yuan et al. 2022, arXiv 2212.08860): SVEA's loss behind a frozen, pre-trained encoder."""

from typing import cast

from samg_ros.rl.agents.frozen_encoder import FrozenEncoder, load_resnet
from samg_ros.rl.agents.svea import SveaAgent


class PieGAgent(SveaAgent):
    """SVEA on features of ImageNet; only the layer behind them learns with the critic."""

    def load_pretrained(self) -> None:
        """Fill the frozen encoder.

        Raises:
            WeightsError: if its weights cannot be had or do not fit.
        """
        load_resnet(cast(FrozenEncoder, self.encoder), self.config)

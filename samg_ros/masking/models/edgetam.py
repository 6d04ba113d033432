# SPDX-License-Identifier: Apache-2.0
"""EdgeTAM (arXiv 2501.07256) on single pictures, from transformers.

SAM 2 with a RepViT from timm in Hiera's place and a lighter memory; without the memory nothing
else differs.
"""

from __future__ import annotations

from pathlib import Path

from samg_ros.masking.models.loading.pretrained import load_pretrained
from samg_ros.masking.models.sam2 import Sam2

HUB_IDS = {'edgetam': 'yonigozlan/EdgeTAM-hf'}


def load_edgetam(name: str, weights: str | Path | None) -> Sam2:
    """Load EdgeTAM as the transformers library has it.

    Args:
        name: a key of HUB_IDS.
        weights: a folder or hub id; None takes the usual hub id.

    Raises:
        WeightsError, MissingDependencyError: see `load_pretrained`.
    """
    return Sam2(load_pretrained(name, 'EdgeTamModel', weights or HUB_IDS[name]))

# SPDX-License-Identifier: Apache-2.0
"""PIE-G's encoder (Yuan et al. 2022, arXiv 2212.08860): a ResNet that saw ImageNet.

Its weights stay as they are and only its first two stages are used; what adapts are the running
statistics of its batch norms, which is one of that paper's two findings. Every frame of the stack
is encoded by itself; the later ones and their differences to the ones before are joined and
narrowed by a layer that does learn.
"""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from samg_ros.errors import ConfigError, MissingDependencyError, WeightsError, first_line
from samg_ros.masking.models.loading.weights_io import load_strict
from samg_ros.rl.agents.networks import PixelEncoder, orthogonal
from samg_ros.rl.config import TrainConfig

EMBEDDING_DIM = 1024
"""Width of what the actor and the critics get."""

WEIGHT_FILES = ('model.safetensors', 'pytorch_model.bin')
"""What a folder of timm's, or a repository on the hub, calls its weights."""

_USED = ('conv1', 'bn1', 'act1', 'maxpool', 'layer1', 'layer2')
_UNUSED = ('layer3.', 'layer4.', 'fc.')


class EarlyResNet(nn.Sequential):
    """A ResNet of timm up to its second stage, with timm's names."""

    def __init__(self, name: str) -> None:
        super().__init__()
        try:
            import timm
        except ImportError as error:
            raise MissingDependencyError(
                'agent pieg: timm is not installed; run `pip install timm`'
            ) from error
        whole = timm.create_model(name, pretrained=False, num_classes=0)
        for part in _USED:
            self.add_module(part, whole.get_submodule(part))


class FrozenEncoder(PixelEncoder):
    """A ResNet up to its second stage, and the learning layer behind it.

    In training mode its batch norms normalise with the batch and follow it with their running
    statistics; in evaluation mode they take those statistics.
    """

    def __init__(self, config: TrainConfig) -> None:
        """Build with random weights; `load_resnet` has the others.

        Args:
            config: observation and ResNet.

        Raises:
            ConfigError: if the observation has one frame only, which has no difference.
            MissingDependencyError: if timm is not installed.
        """
        super().__init__()
        frames = config.observation.frame_stack
        if frames < 2:
            raise ConfigError('agent pieg needs a frame_stack of at least 2, got 1')
        self.resnet = EarlyResNet(config.resnet)
        self.resnet.requires_grad_(False).to(memory_format=torch.channels_last)
        self._offset = config.pixel_offset
        with torch.no_grad():
            side = config.observation.size
            shape = self.resnet.eval()(torch.zeros(1, 3, side, side)).shape
        self.resnet.train()
        self.output_dim = EMBEDDING_DIM
        self.project = nn.Linear(2 * (frames - 1) * shape[1:].numel(), EMBEDDING_DIM)
        self.norm = nn.LayerNorm(EMBEDDING_DIM)
        orthogonal(self.project)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode (N, 3 * k, size, size) pixels in 0 to 255 into (N, EMBEDDING_DIM) float32."""
        return cast(Tensor, self.norm(self.project(self.features(pixels))))

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """Return the frozen features of (N, 3 * k, size, size) pixels, flat: (N, D) float32."""
        count = len(pixels)
        frames = pixels.reshape(-1, 3, *pixels.shape[2:])
        scaled = frames.to(torch.float32, memory_format=torch.channels_last, copy=True)
        maps = self.resnet(scaled.mul_(1 / 255).sub_(self._offset)).unflatten(0, (count, -1))
        later = maps[:, 1:]
        return torch.cat((later, later - maps[:, :-1]), dim=1).flatten(1)


def load_resnet(encoder: FrozenEncoder, config: TrainConfig) -> None:
    """Fill the frozen part with pre-trained weights.

    Args:
        encoder: to be filled; its learning layer stays as it is.
        config: names ResNet and weights. A file or folder as timm or torchvision write it
            (.safetensors, .pth, .bin), or a hub id.

    Raises:
        WeightsError: if the weights cannot be had, or do not fit; it names the keys.
    """
    source = config.resnet_weights or f'timm/{config.resnet}.tv_in1k'
    path = Path(source).expanduser()
    if path.is_dir():
        files = [path / name for name in WEIGHT_FILES if (path / name).is_file()]
        if not files:
            raise WeightsError(
                f"resnet_weights: the folder '{path}' has none of {', '.join(WEIGHT_FILES)}; "
                'give a folder that timm wrote, or the file itself'
            )
        path = files[0]
    elif not path.is_file():
        path = _from_hub(source, config.resnet)
    # Old files have no counts of batches; the statistics do not depend on them.
    load_strict(encoder.resnet, path, unused=_UNUSED, optional=('num_batches_tracked',))


def _from_hub(source: str, resnet: str) -> Path:
    local = f"give timm's {resnet} from disk, --set resnet_weights=/path/to/folder"
    if source.count('/') != 1 or source.startswith(('.', '/', '~')):
        raise WeightsError(f'resnet_weights: there is no file or folder {source!r}; {local}')
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source, WEIGHT_FILES[0]))
    except Exception as error:  # the hub raises whatever its transport raises
        raise WeightsError(
            f'resnet_weights: {source!r} cannot be had from the hub ({first_line(error)}); {local}'
        ) from error

# SPDX-License-Identifier: Apache-2.0
"""Every model against its reference implementation, full architecture, random weights, float32.

The reference implementation gets random weights in which every branch counts, writes them in the
official layout, and answers: embedding of one picture, three masks and predicted IoU for points
alone and for points, box and mask. Our loader reads what was written, our model answers the same.
An error is the largest difference, divided by the largest value of the reference. The picture has
the size of the model's input, so that no resizing plays a part.

`python benchmarks/model_parity.py` runs all, `... sam-vit-b sam2-tiny` those rows. Models whose
reference is only in their authors' repository want its folder: `--repo efficientvit=FOLDER` a
checkout of mit-han-lab/efficientvit (it imports onnx, onnxsim and omegaconf), `--repo
mobile-sam=FOLDER` one of ChaoningZhang/MobileSAM.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from samg_ros.masking.models import ENCODERS, SEGMENTERS
from samg_ros.masking.models.loading.random_weights import randomize, settle_batch_norms

TOLERANCE = 1e-4
Picture = npt.NDArray[np.uint8]  # (H, W, 3) RGB


@dataclass(frozen=True)
class Prompts:
    """One set of prompts for one picture, in pixels of the input, as `Segmenter.decode` wants."""

    points: Tensor
    labels: Tensor
    boxes: Tensor | None
    masks: Tensor | None


@dataclass(frozen=True)
class Answers:
    """What the reference implementation says, and where its weights were written.

    Attributes:
        weights: file or folder in the official layout.
        embedding: (1, C, g, g) float.
        decoded: for every entry of PROMPTS logits (3, m, m) and predicted IoU (3,); empty for an
            encoder.
    """

    weights: Path
    embedding: Tensor
    decoded: tuple[tuple[Tensor, Tensor], ...] = ()


@dataclass(frozen=True)
class Row:
    """One model of the table.

    Attributes:
        ours: what this package calls it.
        picture: rows and columns of the picture, which no model has to scale.
        answer: asks the reference implementation about a picture; writes weights into a folder.
            The third argument is the authors' repository, where `repo` is set.
        reference: the library that the answer comes from.
        repo: the name of that repository in `--repo`.
    """

    ours: str
    picture: tuple[int, int]
    answer: Callable[[Picture, Path, Path | None], Answers]
    reference: str
    repo: str | None = None


def _prompts() -> tuple[Prompts, ...]:
    generator = torch.Generator().manual_seed(1)
    points = torch.tensor([[[310.0, 420.0], [700.0, 90.0], [512.5, 301.0]]])
    labels = torch.tensor([[1, 0, 1]])
    masks = 4 * torch.randn(1, 256, 256, generator=generator)
    return (Prompts(points, labels, None, None),
            Prompts(points, labels, torch.tensor([[130.0, 40.0, 820.0, 610.0]]), masks))


PROMPTS = _prompts()


def ask_predictor(predictor: Any, picture: Picture, weights: Path) -> Answers:
    """Return the answers of a predictor with segment_anything's interface."""
    predictor.set_image(picture)
    decoded = []
    for one in PROMPTS:
        _, predicted_iou, logits = predictor.predict_torch(
            one.points, one.labels, one.boxes, None if one.masks is None else one.masks[None],
            multimask_output=True)
        decoded.append((logits[0], predicted_iou[0]))
    return Answers(weights, predictor.features, tuple(decoded))


def segment_anything_sam(architecture: str, picture: Picture, folder: Path, _: Any) -> Answers:
    """Ask SAM of the segment_anything package."""
    from segment_anything import SamPredictor, sam_model_registry
    model = randomize(sam_model_registry[architecture]())
    torch.save(model.state_dict(), folder / 'weights.pth')
    return ask_predictor(SamPredictor(model), picture, folder / 'weights.pth')


def efficientvit_sam(name: str, picture: Picture, folder: Path, repo: Path | None) -> Answers:
    """Ask EfficientViT-SAM of mit-han-lab/efficientvit."""
    sys.path.insert(0, str(repo))
    from efficientvit.models.efficientvit.sam import EfficientViTSamPredictor
    from efficientvit.sam_model_zoo import create_efficientvit_sam_model
    model = create_efficientvit_sam_model(name, pretrained=False)
    return ask_authors(model, EfficientViTSamPredictor(model), picture, folder / 'weights.pt')


def mobile_sam(picture: Picture, folder: Path, repo: Path | None) -> Answers:
    """Ask MobileSAM of ChaoningZhang/MobileSAM."""
    sys.path.insert(0, str(repo))
    from mobile_sam import SamPredictor, sam_model_registry
    model = sam_model_registry['vit_t']()
    return ask_authors(model, SamPredictor(model), picture, folder / 'weights.pt')


def ask_authors(model: Any, predictor: Any, picture: Picture, weights: Path) -> Answers:
    """Return the answers of a model with batch norms; its weights are written as it names them.

    The batch norms see patches, not single pixels: the average that is an attention over noise is
    nearly constant, and a norm that makes it vary would multiply rounding errors as well.
    """
    patches = picture[::16, ::16].repeat(16, axis=0).repeat(16, axis=1)
    settle_batch_norms(randomize(model), lambda: predictor.set_image(patches))
    torch.save(model.state_dict(), weights)
    return ask_predictor(predictor, picture, weights)


def transformers_segmenter(build: Callable[[], tuple[Any, Any, Any]], picture: Picture,
                           folder: Path, _: Any) -> Answers:
    """Ask a segmenter of transformers.

    `build` makes the model as it is published, the one that is asked (the same, or the half of it
    that is about pictures), and the image processor.
    """
    published, model, processor = build()
    pixels = processor(images=picture, return_tensors='pt')['pixel_values']
    settle_batch_norms(randomize(published), lambda: published.get_image_embeddings(pixels))
    published.save_pretrained(folder)
    values = published.state_dict()
    model.load_state_dict({key: values[key] for key in model.state_dict()})
    embedding = model.eval().get_image_embeddings(pixels)
    decoded = []
    for one in PROMPTS:
        found = model(image_embeddings=embedding if isinstance(embedding, Tensor)
                      else list(embedding), input_points=one.points[:, None],
                      input_labels=one.labels[:, None],
                      input_boxes=None if one.boxes is None else one.boxes[:, None],
                      input_masks=None if one.masks is None else one.masks[:, None],
                      multimask_output=True)
        decoded.append((found.pred_masks[0, 0], found.iou_scores[0, 0]))
    return Answers(folder, embedding if isinstance(embedding, Tensor) else embedding[-1],
                   tuple(decoded))


def transformers_encoder(build: Callable[[], tuple[Any, int]], picture: Picture, folder: Path,
                         _: Any) -> Answers:
    """Ask a DINO of transformers; `build` makes it and says how many tokens come first."""
    from transformers import BitImageProcessor
    from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    model, first = build()
    randomize(model).save_pretrained(folder)
    processor = BitImageProcessor(do_resize=False, do_center_crop=False,
                                  image_mean=IMAGENET_DEFAULT_MEAN, image_std=IMAGENET_DEFAULT_STD)
    tokens = model(**processor(images=picture, return_tensors='pt')).last_hidden_state[0, first:]
    side = round(len(tokens) ** 0.5)
    return Answers(folder, tokens.reshape(1, side, side, -1).permute(0, 3, 1, 2))


def hf_sam(width: int, depth: int, heads: int, everywhere: list[int],
           inner: int | None = None) -> tuple[Any, Any, Any]:
    """Make SAM of transformers; `everywhere` are the layers with global attention."""
    from transformers import SamConfig, SamImageProcessor, SamModel
    vision = {'hidden_size': width, 'num_hidden_layers': depth, 'num_attention_heads': heads,
              'global_attn_indexes': everywhere, 'mlp_dim': inner or 4 * width}
    model = SamModel(SamConfig(vision_config=vision))
    return model, model, SamImageProcessor()


def sam2(width: int, heads: int, depths: list[int], everywhere: list[int], background: int,
         windows: list[int]) -> tuple[Any, Any, Any]:
    """Make SAM 2 of transformers as its checkpoints are published, with the video half.

    The sizes are those of the official configuration files (sam2.1_hiera_*.yaml).
    """
    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2ImageProcessor,
        Sam2Model,
        Sam2VideoConfig,
        Sam2VideoModel,
        Sam2VisionConfig,
    )
    widths = [width * 2 ** stage for stage in range(4)]
    backbone = Sam2HieraDetConfig(
        hidden_size=width, num_attention_heads=heads, blocks_per_stage=depths,
        embed_dim_per_stage=widths, global_attention_blocks=everywhere,
        num_attention_heads_per_stage=[heads * 2 ** stage for stage in range(4)],
        window_size_per_stage=windows,
        window_positional_embedding_background_size=[background] * 2)
    vision = Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=widths[::-1])
    return Sam2VideoModel(Sam2VideoConfig(vision_config=vision)), \
        Sam2Model(Sam2Config(vision_config=vision)), Sam2ImageProcessor()


def edgetam() -> tuple[Any, Any, Any]:
    """Make EdgeTAM of transformers as its checkpoint is published, with the video half."""
    from transformers import (
        EdgeTamConfig,
        EdgeTamModel,
        EdgeTamVideoConfig,
        EdgeTamVideoModel,
        EdgeTamVisionConfig,
        Sam2ImageProcessor,
        TimmWrapperConfig,
    )
    backbone = TimmWrapperConfig(architecture='repvit_m1', model_args={
        'in_chans': 3, 'features_only': True, 'out_indices': [0, 1, 2, 3]})
    vision = EdgeTamVisionConfig(backbone_config=backbone)
    return EdgeTamVideoModel(EdgeTamVideoConfig(vision_config=vision)), \
        EdgeTamModel(EdgeTamConfig(vision_config=vision)), Sam2ImageProcessor()


def dinov2(width: int, depth: int, heads: int) -> tuple[Any, int]:
    """Make DINOv2 of transformers."""
    from transformers import Dinov2Config, Dinov2Model
    return Dinov2Model(Dinov2Config(hidden_size=width, num_hidden_layers=depth,
                                    num_attention_heads=heads, image_size=518, patch_size=14)), 1


def dinov3(width: int, heads: int) -> tuple[Any, int]:
    """Make DINOv3 of transformers, with its four register tokens."""
    from transformers import DINOv3ViTConfig, DINOv3ViTModel
    return DINOv3ViTModel(DINOv3ViTConfig(hidden_size=width, intermediate_size=4 * width,
                                          num_attention_heads=heads, num_register_tokens=4)), 5


def _rows() -> dict[str, Row]:
    rows = {f'sam-{name.replace("_", "-")}': Row(
        f'sam-{name.replace("_", "-")}', (768, 1024), partial(segment_anything_sam, name),
        'segment_anything') for name in ('vit_b', 'vit_l', 'vit_h')}
    for name in ('efficientvit-sam-l0', 'efficientvit-sam-l1'):
        rows[name] = Row(name, (384, 512), partial(efficientvit_sam, name), 'its authors',
                         'efficientvit')
    rows['mobile-sam'] = Row('mobile-sam', (768, 1024), mobile_sam, 'its authors', 'mobile-sam')
    for label, sizes in (('vit-b', (768, 12, 12, [2, 5, 8, 11])),
                         ('vit-l', (1024, 24, 16, [5, 11, 17, 23])),
                         ('vit-h', (1280, 32, 16, [7, 15, 23, 31])),
                         ('slimsam-77', (168, 12, 12, [2, 5, 8, 11], 696))):
        rows[f'hf-sam-{label}'] = Row(
            'hf-sam', (768, 1024),
            partial(transformers_segmenter, partial(hf_sam, *sizes)), 'transformers')
    for label, shape in (('tiny', (96, 1, [1, 2, 7, 2], [5, 7, 9], 7, [8, 4, 14, 7])),
                         ('small', (96, 1, [1, 2, 11, 2], [7, 10, 13], 7, [8, 4, 14, 7])),
                         ('base-plus', (112, 2, [2, 3, 16, 3], [12, 16, 20], 14, [8, 4, 14, 7])),
                         ('large', (144, 2, [2, 6, 36, 4], [23, 33, 43], 7, [8, 4, 16, 8]))):
        rows[f'sam2-{label}'] = Row(
            'sam2', (1024, 1024),
            partial(transformers_segmenter, partial(sam2, *shape)), 'transformers')
    rows['edgetam'] = Row('edgetam', (1024, 1024), partial(transformers_segmenter, edgetam),
                          'transformers')
    for name, build, side in (('dinov2-s', partial(dinov2, 384, 12, 6), 448),
                              ('dinov2-b', partial(dinov2, 768, 12, 12), 448),
                              ('dinov2-l', partial(dinov2, 1024, 24, 16), 448),
                              ('dinov3-s', partial(dinov3, 384, 6), 512),
                              ('dinov3-b', partial(dinov3, 768, 12), 512)):
        rows[name] = Row(name, (side, side), partial(transformers_encoder, build), 'transformers')
    return rows


ROWS = _rows()


def error(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference over the largest value."""
    if ours.shape != theirs.shape:
        raise SystemExit(f'shapes differ: ours {tuple(ours.shape)}, theirs {tuple(theirs.shape)}')
    return float((ours - theirs).abs().max() / theirs.abs().max())


@torch.no_grad()
def compare(row: Row, repo: Path | None) -> dict[str, float]:
    """Return a row's errors and its number of parameters."""
    torch.manual_seed(0)
    picture = np.random.default_rng(0).integers(0, 256, (*row.picture, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        theirs = row.answer(picture, Path(folder), repo)
        model: nn.Module = {**ENCODERS, **SEGMENTERS}[row.ours](theirs.weights).eval()
    frames = torch.from_numpy(picture)[None]
    found = {'parameters_m': sum(p.numel() for p in model.parameters()) / 1e6}
    if row.ours in ENCODERS:
        return found | {'embedding': error(model.features(frames), theirs.embedding)}
    embedding = model.embed(frames)
    found['embedding'] = error(embedding[0], theirs.embedding)
    for kind in ('logits', 'predicted_iou'):
        found[kind] = 0.0
    for one, (logits, predicted_iou) in zip(PROMPTS, theirs.decoded, strict=True):
        ours = model.decode(embedding, one.points, one.labels, one.boxes, one.masks)
        found['logits'] = max(found['logits'], error(ours[0][0], logits))
        found['predicted_iou'] = max(found['predicted_iou'], error(ours[1][0], predicted_iou))
    return found


def main() -> None:
    """Print the table; the exit status says whether every error is small enough."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('rows', nargs='*', metavar='NAME', help=', '.join(ROWS))
    parser.add_argument('--repo', action='append', default=[], metavar='NAME=FOLDER')
    parser.add_argument('--json', type=Path, help='also write the figures there')
    args = parser.parse_args()
    repos = {name: Path(folder) for name, _, folder in (one.partition('=') for one in args.repo)}
    if strangers := [name for name in args.rows if name not in ROWS]:
        parser.error(f'no row {", ".join(strangers)}; choose from {", ".join(ROWS)}')
    for name in args.rows:
        if ROWS[name].repo and ROWS[name].repo not in repos:
            parser.error(f'{name}: needs --repo {ROWS[name].repo}=FOLDER')
    names = args.rows or [name for name, row in ROWS.items() if row.repo in {None, *repos}]
    os.environ['TQDM_DISABLE'] = '1'  # transformers' bars
    print(f'{"model":22} {"reference":20} {"M params":>8} {"embedding":>10} {"logits":>10} '
          f'{"pred. IoU":>10} {"s":>6}')
    results: dict[str, dict[str, Any]] = {}
    for name in names:
        row, start = ROWS[name], time.perf_counter()
        found = compare(row, repos.get(row.repo or ''))
        results[name] = {'reference': row.reference, **found}
        errors = ' '.join(f'{found[kind]:10.1e}' if kind in found else f'{"":10}'
                          for kind in ('embedding', 'logits', 'predicted_iou'))
        print(f'{name:22} {row.reference:20} {found["parameters_m"]:8.1f} {errors} '
              f'{time.perf_counter() - start:6.1f}', flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + '\n')
    worst = max(value for found in results.values() for kind, value in found.items()
                if kind in ('embedding', 'logits', 'predicted_iou'))
    sys.exit(f'an error is above {TOLERANCE}' if not worst <= TOLERANCE else 0)


if __name__ == '__main__':
    main()

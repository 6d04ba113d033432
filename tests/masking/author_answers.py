# SPDX-License-Identifier: Apache-2.0
"""What models answer whose authors' code is no package, kept in data/NAME.npz.

Weights come from the official names and shapes by a recipe, so that no weights need keeping. The
files were made by the authors' own code:

    python tests/masking/author_answers.py --efficientvit FOLDER --mobile-sam FOLDER

with checkouts of mit-han-lab/efficientvit at de7d773 (which imports onnx, onnxsim and omegaconf)
and ChaoningZhang/MobileSAM at 34bbbfd.
"""

import argparse
import sys
import zlib
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent / 'data'
EVERY = (slice(None, None, 16), slice(None, None, 8), slice(None, None, 8))  # kept of the embedding
LOGITS_EVERY = (slice(None), slice(None, None, 16), slice(None, None, 16))


def official_layout(name):
    """Return the shapes in a checkpoint by official key, as the authors' model has them."""
    text = bytes(np.load(FOLDER / f'{name}.npz')['layout']).decode()
    return {key: tuple(map(int, sizes)) for key, *sizes in map(str.split, text.splitlines())}


def official_state(layout):
    """Return a checkpoint in which every branch counts; each value depends on its key alone."""
    return {key: torch.from_numpy(_values(key, shape)) for key, shape in layout.items()}


def _values(key, shape):
    if key.endswith('num_batches_tracked'):
        return np.array(1)
    noise = np.random.default_rng(zlib.crc32(key.encode())).random(shape, np.float32) * 2 - 1
    if key.endswith('running_var') or (len(shape) == 1 and key.endswith('weight')):
        return 1 + noise / 2
    if key.endswith('running_mean') or len(shape) == 1:
        return noise / 5
    if key.endswith('weight') and shape[0] > 4:
        return noise * (3 / np.prod(shape[1:])).astype(np.float32) ** 0.5
    return noise  # tokens and tables


def picture(side):
    """Return (3 * side / 4, side, 3) uint8: needs padding, but no resizing."""
    coarse = np.random.default_rng(0).integers(0, 256, (side // 16 * 3 // 4, side // 16, 3))
    return coarse.repeat(16, axis=0).repeat(16, axis=1).astype(np.uint8)


def prompts():
    """Return two sets of points, labels, box and mask as tensors, for a frame of 1024 pixels."""
    rng = np.random.default_rng(1)
    points = torch.from_numpy(rng.random((1, 3, 2), np.float32)) * 700
    masks = torch.from_numpy(rng.random((1, 256, 256), np.float32)) * 8 - 4
    labels = torch.tensor([[1, 0, 1]])
    return ((points, labels, None, None),
            (points, labels, torch.tensor([[130.0, 40.0, 820.0, 610.0]]), masks))


@torch.no_grad()
def compare_with_authors(model, answers, side):
    """Give our model the picture as the second of two frames; its answers are the authors'."""
    frames = torch.from_numpy(picture(side))[None]
    frames = torch.cat([frames.flip(1), frames])
    embedding = model.embed(frames)
    _assert_close(embedding[0][1][EVERY], answers['embedding'])
    for index, (points, labels, boxes, masks) in enumerate(prompts()):
        logits, predicted_iou = model.decode(
            embedding, torch.cat([points / 2, points]), torch.cat([1 - labels, labels]),
            None if boxes is None else torch.cat([boxes / 2, boxes]),
            None if masks is None else torch.cat([-masks, masks]))
        _assert_close(logits[1][LOGITS_EVERY], answers[f'logits{index}'])
        _assert_close(predicted_iou[1], answers[f'predicted_iou{index}'])


def _assert_close(ours, theirs):
    # Tight enough for the eps of a norm to show: 1e-5 in place of 1e-6 makes 3e-5.
    assert np.abs(ours.numpy() - theirs).max() <= 1e-5 * np.abs(theirs).max()


def _ask(name, model, predictor, side):
    layout = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict(official_state(layout))
    model.train()
    model.eval()  # MobileSAM prepares its attention biases in here
    predictor.set_image(picture(side))
    text = ''.join(f'{key} {" ".join(map(str, shape))}\n' for key, shape in layout.items())
    answers = {'layout': np.frombuffer(text.encode(), np.uint8),
               'embedding': predictor.features[0][EVERY].numpy()}
    for index, (points, labels, boxes, masks) in enumerate(prompts()):
        _, predicted_iou, logits = predictor.predict_torch(
            points, labels, boxes, None if masks is None else masks[None])
        answers[f'logits{index}'] = logits[0][LOGITS_EVERY].numpy()
        answers[f'predicted_iou{index}'] = predicted_iou[0].numpy()
    np.savez_compressed(FOLDER / f'{name}.npz', **answers)
    print(f'{name}: embedding of deviation {predictor.features.std():.3g}, '
          f'{(FOLDER / f"{name}.npz").stat().st_size} bytes')


@torch.no_grad()
def main():
    """Ask the authors' models and write the files."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--efficientvit', required=True)
    parser.add_argument('--mobile-sam', required=True)
    args = parser.parse_args()
    sys.path[:0] = [args.efficientvit, args.mobile_sam]
    from efficientvit.models.efficientvit.sam import EfficientViTSamPredictor
    from efficientvit.sam_model_zoo import create_efficientvit_sam_model
    from mobile_sam import SamPredictor, sam_model_registry
    FOLDER.mkdir(exist_ok=True)
    for name in ('efficientvit-sam-l0', 'efficientvit-sam-l1'):
        model = create_efficientvit_sam_model(name, pretrained=False)
        _ask(name, model, EfficientViTSamPredictor(model), 512)
    model = sam_model_registry['vit_t']()
    _ask('mobile-sam', model, SamPredictor(model), 1024)


if __name__ == '__main__':
    main()

# SPDX-License-Identifier: Apache-2.0
"""`samg export`: a fitted masker, and a policy, as files that run without samg_ros."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from samg_ros import __version__
from samg_ros.arguments import add_out, optional_path, path_argument, whole
from samg_ros.errors import ConfigError
from samg_ros.files.outputs import make_folder, write_json
from samg_ros.files.pictures import PICTURE_SUFFIXES, read_picture
from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.masking.engines.export import (
    ACTIONS,
    FORMATS,
    LEAST_IOU,
    LOGITS,
    MEAN_IOU,
    Exported,
    MaskerNetwork,
    versions,
    write_script,
)
from samg_ros.rl.evaluation.policy import Policy, load_policy

EXAMPLES = 6
"""Frames on which a bundle is compared with torch."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg export`."""
    parser.add_argument('--format', choices=FORMATS, required=True,
                        help='onnx (also for TensorRT) or openvino')
    add_out(parser, 'folder for the bundle', required=True)
    parser.add_argument('--reference', type=path_argument, metavar='DIR',
                        help="what the masker looks for; with --policy the policy's own")
    parser.add_argument('--policy', type=optional_path, metavar='CHECKPOINT',
                        help='export the policy too: checkpoint, run folder, or the task of one '
                             'that comes with the package; the masker is then its own')
    parser.add_argument('--model', default='mini', help='mask model (default: %(default)s)')
    parser.add_argument('--weights', metavar='FILE',
                        help="its weights, NAME=PATH,NAME=PATH for a pair (the package's)")
    parser.add_argument('--size', nargs=2, type=whole(16, 8192), metavar=('ROWS', 'COLUMNS'),
                        help="of the camera's frames (the reference's)")
    parser.add_argument('--frames', type=path_argument, metavar='DIR',
                        help=f'compare on the first {EXAMPLES} pictures there (default: the '
                             'reference moved sideways)')
    parser.add_argument('--int8', action='store_true',
                        help="openvino: the masker's convolutions in int8, calibrated on the "
                             'reference and all --frames, which have to show what it will see')


@torch.no_grad()
def run(args: argparse.Namespace) -> int:
    """Run `samg export`; the exit status is 1 where a file differs from torch."""
    if args.int8 and (args.format != 'openvino' or not args.frames):
        raise ConfigError('--int8 is for --format openvino, and needs --frames DIR with pictures '
                          'of what the camera sees: the scale of every number comes from them')
    policy = load_policy(args.policy) if args.policy else None
    masker = _masker(args, policy)
    networks = []
    if masker is not None:
        assert masker.reference is not None
        rows, columns = args.size or masker.reference.mask.shape
        frames: list[tuple[Tensor, ...]] = [(torch.from_numpy(one[None]),) for one in _frames(
            args.frames, masker.reference, rows, columns)]
        bounds = {'mean_iou': MEAN_IOU, 'least_iou': LEAST_IOU, 'largest_difference': LOGITS}
        networks.append(Exported(
            'masker', MaskerNetwork(masker, rows, columns), MaskerNetwork.inputs,
            MaskerNetwork.outputs, frames[:1 + EXAMPLES], {} if args.int8 else bounds,
            {'objects': list(masker.objects), 'masker': masker.describe()},
            frames if args.int8 else None))
    if policy is not None:
        networks.append(_policy_network(policy))
    folder = make_folder(args.out)
    written = {one.name: one.write(folder, args.format) for one in networks}
    write_script(folder)
    write_json(folder / 'manifest.json', {
        'bundle': 1, 'samg_ros': __version__, 'written_with': versions(args.format),
        'format': args.format,
        'mask_contract': 'what the policy sees = the frame where `masks` is true, the fill colour '
                         'elsewhere; then crop, resize and stack as `observation` says',
        'networks': written, **_tensorrt(args.format, written)})
    for name, facts in written.items():
        for output, figures in facts['parity'].items():
            print(f'{name:7} {output:14} ' + ', '.join(
                f'{kind.replace("_", " ")} {value:.6g}' for kind, value in figures.items()))
    print(folder / 'manifest.json')
    return int(not all(facts['parity_kept'] for facts in written.values()))


class PolicyNetwork(nn.Module):
    """Encoder and actor of a checkpoint, and the scaling to the limits of its actions."""

    outputs = {'action': 'a command, within the limits `low` and `high`'}

    def __init__(self, policy: Policy) -> None:
        """Take the policy.

        Raises:
            ConfigError: if it predicts chunks, which something must blend.
        """
        super().__init__()
        self.encoder, self.actor = policy.networks()
        self.low, self.range = (torch.from_numpy(one).float() for one in (
            policy.action_low, policy.action_high - policy.action_low))

    def forward(self, pixels: Tensor, *joints: Tensor) -> tuple[Tensor, ...]:
        unit = self.actor(self.encoder(pixels), joints[0] if joints else None)
        return (self.low + (unit + 1) / 2 * self.range,)


def _policy_network(policy: Policy) -> Exported:
    spec = policy.spec
    inputs = {'pixels': f'{spec.frame_stack} RGB frames, channels first, oldest first, as the '
                        'class Observer makes them of masked frames'}
    if spec.proprioception:
        inputs['proprioception'] = f'positions of {", ".join(spec.proprioception)}, rad or m'
    rng = np.random.default_rng(0)
    examples = [tuple(torch.from_numpy(one) for one in (
        rng.integers(0, 256, (1, *spec.pixels_shape), np.uint8),
        rng.uniform(-1, 1, (1, len(spec.proprioception))).astype(np.float32))[:len(inputs)])
        for _ in range(EXAMPLES)]
    span = float((policy.action_high - policy.action_low).max())
    return Exported('policy', PolicyNetwork(policy), inputs, PolicyNetwork.outputs, examples,
                    {'largest_difference': ACTIONS * span},
                    {'task': policy.task, 'observation': spec.to_dict(),
                     'low': policy.action_low.tolist(), 'high': policy.action_high.tolist()})


def _masker(args: argparse.Namespace, policy: Policy | None) -> Masker | None:
    if policy is not None:
        if args.reference or args.weights or args.model != 'mini':
            raise ConfigError('--reference, --model and --weights: a policy has its own masker; '
                              'leave them out, or export without --policy')
        return _first_look(policy)
    if args.reference is None:
        raise ConfigError('nothing to export: give --reference, or --policy')
    settings = MaskerSettings(engine='torch', second_look=False)
    return Masker.load(args.model, settings, 'cpu', args.weights).fit(
        Reference.load(args.reference))


def _first_look(policy: Policy) -> Masker | None:
    """Return the masker of a policy, without a second look, which cannot be exported."""
    masker = policy.masker()
    if masker is None or policy.reference is None or not masker.settings.second_look:
        return masker
    print("note: the policy's masker looks twice (second_look); exported is its first look, whose "
          'masks are a little worse', file=sys.stderr)
    described = masker.describe()
    settings = described['settings'] | {'second_look': False, 'temporal': 'off'}
    return Masker.from_description(described | {'settings': settings}).fit(policy.reference)


def _frames(folder: Path | None, reference: Reference, rows: int, columns: int
            ) -> list[npt.NDArray[np.uint8]]:
    if folder is None:
        steps = np.linspace(0, reference.mask.shape[1], EXAMPLES, endpoint=False).astype(int)
        found = [np.roll(reference.image, int(step), 1) for step in steps]
    elif folder.is_dir():
        files = sorted(each for each in folder.iterdir() if each.suffix.lower() in PICTURE_SUFFIXES)
        found = [reference.image, *(cv2.cvtColor(read_picture(each), cv2.COLOR_BGR2RGB)
                                    for each in files)]
    else:
        found = []
    if not found:
        raise ConfigError(f"--frames '{folder}': no folder with pictures")
    return [np.ascontiguousarray(one) if one.shape[:2] == (rows, columns) else
            np.asarray(cv2.resize(one, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
            for one in found]


def _tensorrt(form: str, networks: dict[str, Any]) -> dict[str, Any]:
    """Return the commands that build a TensorRT engine and compare it; none was run here."""
    if form != 'onnx':
        return {}
    commands = {}
    for name, facts in networks.items():
        inputs = ','.join(f'{one["name"]}:{name}_{one["name"]}.bin' for one in facts['inputs'])
        commands[name] = [
            f'trtexec --onnx={name}.onnx --saveEngine={name}.engine --noTF32',
            'python check_parity.py --write-inputs',
            f"trtexec --loadEngine={name}.engine --loadInputs='{inputs}' "
            f'--exportOutput={name}.json',
            f'python check_parity.py --trtexec {name} {name}.json']
    return {'tensorrt': {'tried': False, 'commands': commands}}

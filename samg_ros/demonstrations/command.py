# SPDX-License-Identifier: Apache-2.0
"""`samg demonstrations import` and `export`: recorded episodes into data sets, and masked ones.

Bags (mcap, sqlite3, folders of them) become a LeRobotDataset v3. HDF5 files of simulators (Minari,
D4RL) become the demonstrations that `samg train policy --demonstrations` puts into its replay.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from samg_ros.arguments import OutputFolder, add_json, path_argument, refuse_unused, whole
from samg_ros.errors import DemonstrationError
from samg_ros.files.outputs import write_json
from samg_ros.rl.commands.demonstrations import run_hdf5_import

_HDF5 = ('.hdf5', '.h5')


def import_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg demonstrations import`."""
    parser.add_argument('source', type=path_argument, nargs='+', metavar='SOURCE',
                        help='bags, folders of bags, or one HDF5 file or Minari folder')
    parser.add_argument('--task', required=True,
                        help='bags: what is demonstrated, in words; HDF5: name of the task')
    parser.add_argument('--out', action=OutputFolder, required=True, metavar='DIR',
                        help='folder of the data set, new')
    bags = parser.add_argument_group('bags')
    bags.add_argument('--contract', type=path_argument, metavar='YAML',
                      help='which topics are camera, joints and action, and the rate; without it '
                      'those that `samg run arm --record` and ros2_control publish')
    bags.add_argument('--size', type=whole(16, 8192), nargs=2, metavar=('HEIGHT', 'WIDTH'),
                      help='resize the frames; without it they keep their size')
    hdf5 = parser.add_argument_group('HDF5 files')
    hdf5.add_argument('--camera-size', type=whole(16, 4096), default=84, metavar='PIXELS',
                      help='side of the frames that are rendered from states (%(default)s)')
    hdf5.add_argument('--action-repeat', type=whole(1), default=1, metavar='STEPS',
                      help='control steps between two recorded moments (%(default)s)')
    hdf5.add_argument('--pixels', metavar='NAME',
                      help='which pictures, such as observations/image, if there are several')
    hdf5.add_argument('--episodes', type=whole(1), metavar='N', help='only the first N')
    add_json(parser)


def run_import(args: argparse.Namespace) -> None:
    """Import, and print how much and what was left out."""
    if _is_hdf5(args.source):
        refuse_unused(args, ('contract', 'size'), 'is for bags')
        args.file = args.source[0]
        run_hdf5_import(args)
        return
    refuse_unused(args, ('camera_size', 'action_repeat', 'pixels', 'episodes'), 'is for HDF5 files')
    from samg_ros.demonstrations.bag_import import find_bags, import_bags
    from samg_ros.demonstrations.contract import Contract, load_contract

    contract = Contract() if args.contract is None else load_contract(args.contract)
    result = import_bags(find_bags(args.source), args.out, args.task, contract,
                         None if args.size is None else (args.size[0], args.size[1]))
    for bag, what in result.left_out.items():
        print(f'{bag}: left out {what}')
    print(f'{result.episodes} episodes, {result.samples} samples of {result.bags} bags: {args.out}')
    _write_json(args.json, {'episodes': result.episodes, 'samples': result.samples,
                            'bags': result.bags, 'left_out': result.left_out})


def export_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg demonstrations export`."""
    parser.add_argument('dataset', type=path_argument, metavar='DATASET',
                        help='a LeRobotDataset v3')
    parser.add_argument('--format', choices=('lerobot', 'bag'), default='lerobot',
                        help='lerobot: a data set with masked frames; bag: the data set as it is, '
                        'an MCAP file for each episode (%(default)s)')
    parser.add_argument('--reference', type=path_argument, default=None, metavar='DIR',
                        help='the object to keep: folder with image.png and mask.png')
    parser.add_argument('--out', action=OutputFolder, required=True, metavar='DIR',
                        help='folder of the data set or the bags, new')
    parser.add_argument('--frames', choices=('masked', 'both'), default='masked',
                        help='masked frames only, or raw and masked ones (%(default)s)')
    parser.add_argument('--model', default='mini', help='masking model (%(default)s)')
    parser.add_argument('--weights', default='', help='its weight files, see docs/models.md')
    parser.add_argument('--device', default='cpu', help='torch device (%(default)s)')
    add_json(parser)


def run_export(args: argparse.Namespace) -> None:
    """Mask every frame of a data set and write it anew; or write it as bags."""
    if args.format == 'bag':
        _run_bag_export(args)
        return
    if args.reference is None:
        raise DemonstrationError('frames are masked with a reference: give --reference DIR, or '
                                 '--format bag for bags of the frames as they are')
    from samg_ros.demonstrations.masked_export import export_masked
    from samg_ros.masking import Masker, Reference

    masker = Masker.load(args.model, weights=args.weights or None, device=args.device)
    masker.fit(Reference.load(args.reference))
    figures = export_masked(args.dataset, args.out, masker, keep_raw=args.frames == 'both')
    print(f'{figures["episodes"]} episodes, {figures["frames"]} frames masked, mean mask area '
          f'{figures["mask_area"]:.3f}: {args.out}')
    _write_json(args.json, figures)


def _run_bag_export(args: argparse.Namespace) -> None:
    from samg_ros.demonstrations.bag_export import CONTRACT_NAME, export_bags

    refuse_unused(args, ('reference', 'frames', 'model', 'weights', 'device'),
                  'is for masking, and --format bag writes the frames as they are')
    figures = export_bags(args.dataset, args.out)
    print(f'{figures["episodes"]} bags, {figures["frames"]} frames: {args.out}; import them with '
          f'--contract {args.out / CONTRACT_NAME}')
    _write_json(args.json, figures)


def _is_hdf5(sources: list[Path]) -> bool:
    """Whether one HDF5 file or Minari folder was given; bags and HDF5 do not go together."""
    found = [path.suffix in _HDF5 or (path / 'data/main_data.hdf5').exists() for path in sources]
    if any(found) and len(sources) > 1:
        raise DemonstrationError('give one HDF5 file, or any number of bags')
    return found[0]


def _write_json(path: Path | None, figures: dict[str, Any]) -> None:
    if path is not None:
        write_json(path, figures)

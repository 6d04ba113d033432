# SPDX-License-Identifier: Apache-2.0
"""`samg export`: a bundle that runs without samg_ros and gives what torch gives."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from samg_ros.cli import main
from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.masking.engines.library import is_installed
from samg_ros.rl.evaluation.policy import load_policy

RUNTIMES = {'onnx': 'onnxruntime', 'openvino': 'openvino'}


@pytest.fixture(scope='module', params=[
    pytest.param(form, marks=pytest.mark.skipif(not is_installed(runtime), reason=f'no {runtime}'))
    for form, runtime in RUNTIMES.items()])
def bundle(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp('export') / 'bundle'
    assert main(['export', '--format', request.param, '--policy', 'walker_walk',
                 '--out', str(folder)]) == 0
    return folder


def manifest(folder):
    return json.loads((folder / 'manifest.json').read_text())


def test_the_manifest_says_what_goes_in_and_out(bundle):
    networks = manifest(bundle)['networks']
    frames, = networks['masker']['inputs']
    assert (frames['name'], frames['dtype'], frames['shape'][3]) == ('frames', 'uint8', 3)
    assert [one['name'] for one in networks['masker']['outputs']] == [
        'masks', 'object_masks', 'logits', 'predicted_iou']
    shape = load_policy('walker_walk').spec.pixels_shape
    assert networks['policy']['inputs'][0]['shape'] == [1, *shape]
    assert len(networks['policy']['low']) == networks['policy']['outputs'][0]['shape'][1] == 6


def test_masks_and_actions_are_those_of_torch(bundle):
    networks = manifest(bundle)['networks']
    assert all(network['parity_kept'] for network in networks.values())
    assert networks['masker']['parity']['masks']['mean_iou'] >= 0.999
    assert networks['policy']['parity']['action']['largest_difference'] < 1e-3


def test_the_script_in_the_bundle_needs_nothing_of_samg_ros(bundle):
    code = ("import runpy, sys\nsys.modules['samg_ros'] = sys.modules['torch'] = None\n"
            "sys.argv = ['check_parity.py']\nrunpy.run_path(sys.argv[0], run_name='__main__')")
    found = subprocess.run([sys.executable, '-c', code], cwd=bundle, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert 'masker masks: mean_iou 1, least_iou 1' in found.stdout
    assert 'policy action: largest_difference' in found.stdout


def test_the_script_fails_where_a_network_differs(bundle, tmp_path):
    changed = tmp_path / 'changed'
    changed.mkdir()
    for path in bundle.iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    examples = dict(np.load(changed / 'policy_examples.npz'))
    np.savez(changed / 'policy_examples.npz', **{**examples, 'action': examples['action'] + 1})
    found = subprocess.run([sys.executable, 'check_parity.py'], cwd=changed, capture_output=True,
                           text=True)
    assert found.returncode == 1, found.stderr


def test_what_trtexec_writes_is_compared_with_the_first_example(bundle):
    with np.load(bundle / 'policy_examples.npz') as examples:
        action = examples['action'][0]
    written = bundle / 'policy.json'
    written.write_text(json.dumps([{'name': 'action', 'dimensions': '1x6',
                                    'values': (action[0] + 0.5).tolist()}]))
    found = subprocess.run([sys.executable, 'check_parity.py', '--trtexec', 'policy', written],
                           cwd=bundle, capture_output=True, text=True)
    assert found.stdout == 'policy action: largest_difference 0.5\n' and found.returncode == 1


@pytest.mark.parametrize('arguments, words', [
    ([], 'nothing to export: give --reference, or --policy'),
    (['--policy', 'walker_walk', '--reference', '.'], 'a policy has its own masker'),
])
def test_a_wrong_command_is_one_line(tmp_path, capsys, arguments, words):
    assert main(['export', '--format', 'onnx', '--out', str(tmp_path / 'bundle'), *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize('arguments', [['--format', 'onnx', '--frames', '.'],
                                       ['--format', 'openvino']])
def test_int8_needs_openvino_and_frames(tmp_path, capsys, arguments):
    assert main(['export', '--int8', *arguments, '--policy', 'walker_walk',
                 '--out', str(tmp_path / 'bundle')]) == 2
    assert '--int8 is for --format openvino, and needs --frames' in capsys.readouterr().err


@pytest.mark.skipif(not is_installed('openvino'), reason='no OpenVINO')
def test_int8_is_calibrated_compared_and_named_or_says_what_to_install(tmp_path, capsys):
    frames, out = tmp_path / 'frames', tmp_path / 'bundle'
    frames.mkdir()
    image, rng = load_policy('walker_walk').reference.image, np.random.default_rng(0)
    for index in range(10):
        noisy = np.roll(image, 3 * index, 1) + rng.normal(0, 8, image.shape)
        cv2.imwrite(str(frames / f'{index}.png'), noisy.clip(0, 255)[..., ::-1])
    command = ['export', '--int8', '--format', 'openvino', '--policy', 'walker_walk',
               '--frames', str(frames), '--out', str(out)]
    if not is_installed('nncf'):
        assert main(command) == 2
        assert 'int8 needs NNCF; run `pip install nncf`' in capsys.readouterr().err
        return
    assert main(command) == 0
    network = manifest(out)['networks']['masker']
    assert network['convolutions'] == 'int8' and not network['allowed']
    assert 0.9 < network['parity']['masks']['mean_iou'] < 1
    assert 'mean iou' in capsys.readouterr().out


@pytest.mark.skipif(not is_installed('openvino'), reason='no OpenVINO')
def test_frames_of_another_size_than_the_reference_are_masked_alike(tmp_path, shared_data):
    folder, reference = tmp_path / 'bundle', shared_data / 'samg_references' / 'walker_0.png'
    assert main(['export', '--format', 'openvino', '--reference', str(reference),
                 '--size', '120', '160', '--out', str(folder)]) == 0
    network = manifest(folder)['networks']['masker']
    assert network['inputs'][0]['shape'] == [1, 120, 160, 3]
    with np.load(folder / 'masker_examples.npz') as examples:
        frame, expected = examples['frames'][0], examples['masks'][0]
    settings = MaskerSettings(engine='torch', second_look=False)  # not part of what is exported
    masker = Masker.load('mini', settings).fit(Reference.load(reference))
    assert (masker(frame) == expected).all() and expected.any()

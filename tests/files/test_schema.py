# SPDX-License-Identifier: Apache-2.0
"""What comes from elsewhere is checked before it is used, whatever file it stands in."""

import io
import os
import threading
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from samg_ros.errors import ConfigError
from samg_ros.files.arrays import ArraySpec, read_npz
from samg_ros.files.schema import read_json, read_yaml
from samg_ros.files.tensors import read_torch


@dataclass(frozen=True)
class Box:
    name: str = ''
    sides: tuple[float, ...] = ()


@pytest.mark.parametrize('text, said', [
    ('name: a\nname: b', "the key 'name' is given twice"), ('size: 3', "unknown key 'size'"),
    ('sides: [1, .nan]', 'nan; give finite'), ('sides: [1, x]', r'at `\$.sides\[1\]`'),
    ('sides: &s [1]\nname: *s', 'aliases'), ('name: !!python/object:os.system x', 'not valid YAML'),
    ('[' * 3000, 'not valid YAML'), ('sides: ' + '[' * 70 + ']' * 70, 'levels deep'),
    ('name: \x1b[2J', 'not valid YAML'), ('- 1', 'got `array`'), ('#' * 2**19, 'has at most')])
def test_yaml_of_another_kind_is_named(tmp_path, text, said):
    path = tmp_path / 'box.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as error:
        read_yaml(path, Box, ConfigError)
    assert 'box.yaml' in str(error.value) and '\n' not in str(error.value)


def test_an_empty_yaml_file_is_an_empty_mapping(tmp_path):
    (tmp_path / 'box.yaml').write_text('')
    assert read_yaml(tmp_path / 'box.yaml', Box, ConfigError) == Box()


@pytest.mark.parametrize('text, said', [
    ('{"name": "a", "name": "b"}', "the key 'name' is given twice"), ('{"sides": [1e999]}', 'inf'),
    ('[' * 100_000, 'not JSON'), ('{', 'not JSON'), ('{"sides": [NaN]}', 'nan')])
def test_json_of_another_kind_is_named(tmp_path, text, said):
    path = tmp_path / 'box.json'
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_json(path, Box, ConfigError)


def test_a_pipe_a_folder_and_bytes_that_are_no_text_are_refused(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'bytes').write_bytes(b'\xff\xfe\x00')
    for name in ('pipe', '.', 'bytes', 'none'):
        with pytest.raises(ConfigError, match='regular file|UTF-8|cannot be read'):
            read_yaml(tmp_path / name, Box, ConfigError)
    assert threading.active_count() < 50  # nobody waits for the pipe


def archive_of(path, **arrays):
    """Write an .npz file from raw .npy bytes."""
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, data in arrays.items():
            archive.writestr(f'{name}.npy', data)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_arrays_of_another_kind_are_refused(tmp_path):
    path = tmp_path / 'a.npz'
    objects = io.BytesIO()
    np.save(objects, np.array([{}], object), allow_pickle=True)
    claims = npy(np.zeros(4)).replace(b'(4,), }', b'(4000000000,), }')
    for data, said in ((objects.getvalue(), 'Python objects'), (claims, 'cut short'),
                       (npy(np.zeros((2, 2))), 'must have the shape'),
                       (npy(np.zeros(4, int)), 'type of kind f'),
                       (npy(np.array([1, np.nan])), 'not finite'), (b'x', 'not an .npz')):
        archive_of(path, x=data)
        with pytest.raises(ConfigError, match=said):
            read_npz(path, {'x': ArraySpec('f', (None,))}, ConfigError, 'mend it')
    archive_of(path, x=npy(np.arange(3.0)))
    assert read_npz(path, {}, ConfigError, '')['x'].tolist() == [0, 1, 2]


def test_a_small_archive_that_unpacks_to_much_is_not_unpacked(tmp_path):
    path = tmp_path / 'bomb.npz'
    archive_of(path, x=npy(np.zeros(4_000_000)))
    assert path.stat().st_size < 100_000
    with pytest.raises(ConfigError, match='would take 320'):
        read_npz(path, {}, ConfigError, 'mend it', most_bytes=10_000_000)


def test_tensors_larger_than_their_file_are_refused(tmp_path):
    path = tmp_path / 'weights.pt'
    for value, said in ((torch.zeros(1).expand(10**12), 'claims more numbers'),
                        (torch.zeros(3, 3).to_sparse(), 'no plain one'),
                        (torch.zeros(3, device='meta'), 'no plain one|cut short')):
        torch.save({'x': value}, path)
        with pytest.raises(ConfigError, match=said):
            read_torch(path, ConfigError, 'fetch it again')
    whole = io.BytesIO()
    torch.save({'x': torch.zeros(1000)}, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ConfigError, match='compressed archive'):
        read_torch(path, ConfigError, 'fetch it again')

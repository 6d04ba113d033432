# SPDX-License-Identifier: Apache-2.0
"""What a parameter file gives a node, whichever way its section is written."""

import pytest

from samg_ros.errors import ConfigError
from samg_ros.ros.given_parameters import given_parameters, unless_given


@pytest.mark.parametrize('section', ['policy:', '/policy:', '/**/policy:', '/left/policy:',
                                     '/**:', '"*":', 'left: {policy:', '/left: {/policy:'])
def test_a_section_is_found_however_it_is_written(tmp_path, section):
    path = tmp_path / 'parameters.yaml'
    path.write_text(f'{section} {{ros__parameters: {{timeout_s: 0.3}}}}' + '}' * section.count('{'))
    assert given_parameters(path, 'policy') == {'timeout_s': 0.3}


def test_a_later_section_wins_and_other_nodes_have_none(tmp_path):
    path = tmp_path / 'parameters.yaml'
    path.write_text('/**: {ros__parameters: {device: cpu, passes: 1}}\n'
                    'perception: {ros__parameters: {passes: 2}}\n'
                    'policy: {ros__parameters: {passes: 3}}')
    assert given_parameters(path, 'perception') == {'device': 'cpu', 'passes': 2}
    assert unless_given({'passes': 9, 'model': 'mini'}, str(path), 'perception') == {
        'model': 'mini'}
    assert unless_given({'passes': 9}, '', 'perception') == {'passes': 9}


@pytest.mark.parametrize('text', ['[', '\x00', 'policy: {ros__parameters: 3}', '- 3', ''])
def test_a_file_without_parameters_gives_none_or_is_named(tmp_path, text):
    path = tmp_path / 'parameters.yaml'
    path.write_text(text)
    try:
        assert given_parameters(path, 'policy') == {}
    except ConfigError as error:
        assert 'parameters.yaml' in str(error)

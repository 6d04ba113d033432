# SPDX-License-Identifier: Apache-2.0
"""The RViz and Foxglove layouts show topics that the graphs have."""

import json
from pathlib import Path

import pytest
import yaml

from samg_ros.files.share import share_file
from samg_ros.nodes.recorder_node import TOPICS

SHOWN = {f'/{topic}' for topic in TOPICS} | {'/masked/overlay', '/diagnostics'}
CONFIG = Path(__file__).parents[2] / 'config'


@pytest.mark.parametrize('name', ['samg.rviz', 'arm.rviz'])
def test_rviz_shows_topics_of_the_graph(name):
    layout = yaml.safe_load((CONFIG / name).read_text())
    displays = layout['Visualization Manager']['Displays']
    assert {display['Topic']['Value'] for display in displays} <= SHOWN
    assert all(display['Name'] in layout['Window Geometry'] for display in displays)


def panels(layout):
    if isinstance(layout, str):
        return [layout]
    return [*panels(layout['first']), *panels(layout['second'])]


def test_foxglove_shows_topics_of_the_graph_and_every_panel_has_a_place():
    layout = json.loads((CONFIG / 'arm.foxglove.json').read_text())
    configs = layout['configById']
    assert sorted(panels(layout['layout'])) == sorted(configs)
    images = {config['imageMode']['imageTopic'] for name, config in configs.items()
              if name.startswith('Image!')}
    assert images == {'/camera/image_raw', '/masked/overlay', '/masked/mask'} <= SHOWN
    plotted = {path['value'].partition('.')[0] for name, config in configs.items()
               if name.startswith('Plot!') for path in config['paths']}
    assert plotted == {'/forward_position_controller/commands', '/joint_states'} <= SHOWN
    limits = yaml.safe_load(share_file('config/jaco_limits.yaml').read_text())['joint_limits']
    assert [path['label'] for path in configs['Plot!commands']['paths']] == list(limits)

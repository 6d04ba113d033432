# SPDX-License-Identifier: Apache-2.0
"""The hand stays in its box."""

import numpy as np
import pytest

from samg_ros.arm.commands import ArmCommands
from samg_ros.arm.joint_limits import JointLimits
from samg_ros.arm.settings import ArmSettings
from samg_ros.arm.workspace import Workspace
from samg_ros.errors import ConfigError

MJCF = """
<mujoco><worldbody>
  <body name="upper"><joint name="shoulder" axis="0 0 1"/><geom size=".01"/>
    <body name="fore" pos=".5 0 0"><joint name="elbow" axis="0 0 1"/><geom size=".01"/>
      <body name="hand" pos=".3 0 0"><geom size=".01"/></body></body></body>
</worldbody></mujoco>"""
URDF = """
<robot name="planar">
  <link name="world"/>
  <link name="upper"><inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0"
    iyz="0"/></inertial></link>
  <link name="hand"><inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0"
    iyz="0"/></inertial></link>
  <joint name="shoulder" type="continuous"><parent link="world"/><child link="upper"/>
    <axis xyz="0 0 1"/></joint>
  <joint name="elbow" type="prismatic"><parent link="upper"/><child link="hand"/>
    <origin xyz="0.5 0 0"/><axis xyz="1 0 0"/><limit lower="0" upper="1" effort="1" velocity="1"/>
  </joint>
</robot>"""
BOX = 'x: [0.2, 0.7], y: [-0.3, 0.3], z: [-0.1, 0.1]'
JOINTS = ('shoulder', 'elbow')
STANDS_S = 0.5


@pytest.fixture
def box(tmp_path):
    """A maker of workspaces of a planar arm with links of 0.5 and 0.3 m."""
    (tmp_path / 'arm.xml').write_text(MJCF)
    (tmp_path / 'arm.urdf').write_text(URDF)

    def make(text=f'workspace: {{model: arm.xml, body: hand, {BOX}}}', joints=JOINTS):
        (tmp_path / 'workspace.yaml').write_text(text)
        return Workspace(tmp_path / 'workspace.yaml', joints)

    return make


def hand(shoulder, elbow):
    """The planar arm's kinematics, from a textbook."""
    return np.array([0.5 * np.cos(shoulder) + 0.3 * np.cos(shoulder + elbow),
                     0.5 * np.sin(shoulder) + 0.3 * np.sin(shoulder + elbow)])


def is_inside(point):
    return 0.2 - 1e-9 <= point[0] <= 0.7 + 1e-9 and abs(point[1]) <= 0.3 + 1e-9


def test_the_hand_is_where_the_kinematics_say(box):
    workspace = box()
    for positions in np.random.default_rng(0).uniform(-3, 3, (20, 2)):
        assert np.allclose(workspace.hand(positions), [*hand(*positions), 0])
    assert workspace.distance([0, 0]) == pytest.approx(0.1)
    assert np.allclose(box(joints=('elbow', 'shoulder')).hand([0.3, 0.2])[:2], hand(0.2, 0.3))


def test_a_urdf_does_as_well(box):
    workspace = box(f'workspace: {{model: arm.urdf, body: hand, {BOX}}}')
    assert np.allclose(workspace.hand([np.pi / 2, 0.25]), [0, 0.75, 0])


@pytest.mark.parametrize('interface', ['position', 'velocity'])
def test_random_commands_never_take_the_hand_out(box, interface):
    arm = ArmCommands(ArmSettings(2, JOINTS, interface, interface, max_command_age_s=STANDS_S,
                                  workspace=box()))
    rng = np.random.default_rng(1)
    positions = np.array([-0.8, 1.6])
    assert is_inside(hand(*positions)) and arm.outside(positions) is None
    arm.begin(positions)
    for _ in range(500):
        if interface == 'position':
            positions = arm.act(positions + rng.normal(0, 0.2, 2), 0.04, positions)
        else:
            velocity = arm.act(rng.normal(0, 1, 2), 0.04, positions)
            assert is_inside(hand(*positions + STANDS_S * velocity))  # if no other follows
            positions = positions + 0.04 * velocity
        assert is_inside(hand(*positions))
    assert 0 < arm.interventions['workspace'] < 500


def test_a_velocity_towards_the_wall_becomes_slower_and_comes_close(box):
    arm = ArmCommands(ArmSettings(2, JOINTS, max_command_age_s=STANDS_S, workspace=box()))
    positions = np.array([-0.3, 1.6])
    arm.begin(positions)
    speeds = []
    for _ in range(50):
        velocity = arm.act(np.array([0.0, -0.6]), 0.04, positions)
        speeds.append(abs(velocity[1]))
        positions = positions + 0.04 * velocity
    assert speeds[0] == 0.6 and (np.diff(speeds) <= 0).all() and len(set(speeds)) > 3
    assert 0.67 < hand(*positions)[0] <= 0.7


def test_from_outside_the_hand_may_only_come_in(box):
    workspace = box()
    assert workspace.allows([0.0, 0.5], [0.0, 0.0])  # shorter: less far out
    assert not workspace.allows([0.0, 0.0], [0.0, 0.5])
    arm = ArmCommands(ArmSettings(2, JOINTS, 'position', 'position', max_command_age_s=STANDS_S,
                                  workspace=workspace))
    assert arm.outside(np.zeros(2)) == ('the hand is at (0.800, 0.000, 0.000) m, outside the '
                                        'workspace; move it inside by hand')


@pytest.mark.parametrize('text, said', [
    ('workspace: {model: arm.xml}', 'missing required field `body`'),
    ('box: 3', 'Expected `object`, got `null`'), ('[', 'is not valid YAML'),
    (f'workspace: {{model: no.xml, body: hand, {BOX}}}', "no.xml' cannot be read"),
    (f'workspace: {{model: arm.xml, body: foot, {BOX}}}', "no body 'foot'; it has world, upper,"),
    (f'workspace: {{model: arm.xml, body: world, {BOX}}}', "body 'world' of the workspace"),
    ('workspace: {model: arm.xml, body: hand, x: [1, 0], y: [0, 1], z: [0, 1]}',
     'must be [least, greatest] in metres, got [1.0, 0.0]')])
def test_a_wrong_workspace_is_named(box, text, said):
    with pytest.raises(ConfigError) as caught:
        box(text)
    assert said in str(caught.value)


def test_a_joint_that_the_model_lacks_is_named(box):
    with pytest.raises(ConfigError, match="no joint 'wrist'; it has shoulder, elbow"):
        box(joints=('shoulder', 'wrist'))


def test_a_hand_that_an_unknown_joint_moves_too_is_refused(box):
    with pytest.raises(ConfigError, match="joint 'shoulder' .* moves 'hand' too"):
        box(joints=('elbow',))


def test_a_joint_of_many_positions_is_refused(box, tmp_path):
    path = tmp_path / 'arm.xml'
    box()
    path.write_text(path.read_text().replace('name="elbow" axis', 'name="elbow" type="ball" axis'))
    with pytest.raises(ConfigError, match="joint 'elbow' .* has more than one position"):
        box()


def test_a_safe_pose_outside_is_refused(box):
    limits = tuple(JointLimits(joint, max_velocity=1.0) for joint in JOINTS)
    with pytest.raises(ConfigError, match='outside the workspace'):
        ArmSettings(2, JOINTS, 'position', 'position', limits, box(), 'pose', (0.0, 0.0),
                    max_command_age_s=STANDS_S)


def posed(workspace, pose, low=-2.0, high=2.0, slow=1.0):
    """Settings of an arm whose safe action is a pose; the shoulder may be slow."""
    limits = (JointLimits('shoulder', low, high, slow), JointLimits('elbow', low, high, 1.0))
    return ArmSettings(2, JOINTS, 'position', 'position', limits, workspace, 'pose', pose,
                       max_command_age_s=STANDS_S)


NARROW = ('workspace: {model: arm.xml, body: hand, x: [0.2, 0.7], y: [0.05, 0.3], '
          'z: [-0.1, 0.1]}')


def test_safe_actions_keep_the_workspace(box):
    pose = (0.9, -1.5)
    arm = ArmCommands(posed(box(NARROW), pose, slow=0.2))
    assert is_inside(hand(*pose)) and hand(*pose)[1] > 0.05
    start = np.array([-0.3, 1.6])  # inside; on the way the quick elbow would take it out
    assert hand(*start)[1] > 0.05
    arm.begin(start)
    lowest = min(hand(*arm.safe(0.02, start))[1] for _ in range(1000))
    assert lowest >= 0.05 - 1e-9 and arm.interventions['workspace']
    unlimited = ArmCommands(posed(None, pose, slow=0.2))
    unlimited.begin(start)
    assert min(hand(*unlimited.safe(0.02, start))[1] for _ in range(1000)) < 0.0


def test_holding_does_not_follow_an_arm_that_is_pushed_out_of_the_box(box):
    arm = ArmCommands(ArmSettings(2, JOINTS, 'velocity', 'position', workspace=box(),
                                  max_command_age_s=STANDS_S))
    inside, outside = np.array([-0.3, 1.6]), np.array([0.2, 1.6])
    arm.begin(inside)
    assert is_inside(hand(*inside)) and not is_inside(hand(*outside))
    for final in (False, True):
        assert is_inside(hand(*arm.safe(0.02, outside, final=final)))


def test_a_safe_pose_that_no_path_leads_to_is_refused(box):
    # Only the pose itself and, on the other side of the elbow, all the rest are inside.
    narrow = ('workspace: {model: arm.xml, body: hand, x: [0.2, 0.51986], y: [-0.3, 0.3], '
              'z: [-0.1, 0.1]}')
    limits = (JointLimits('shoulder', -0.0001, 0.0001, 1.0), JointLimits('elbow', -1.505, 2.2, 1.0))
    with pytest.raises(ConfigError, match='cannot be approached inside the workspace'):
        ArmSettings(2, JOINTS, 'position', 'position', limits, box(narrow), 'pose', (0.0, -1.505),
                    max_command_age_s=STANDS_S)


def test_how_many_positions_can_go_to_the_safe_pose_is_known(box):
    assert posed(box(), (-0.3, 1.6)).approach_share() == pytest.approx(0.475, abs=0.1)
    assert posed(None, (-0.3, 1.6)).approach_share() == 1.0

# SPDX-License-Identifier: Apache-2.0
"""The settings of a training run, as one dataclass that a reader can take in at a glance.

The dataclass is the configuration file, the command line and its help at once, and it travels
in the checkpoint. Budgets and schedules count agent steps, never seconds, so that a run is the
same run on every machine.
"""

import ast
import inspect
import math
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, get_type_hints

from samg_ros.errors import ConfigError
from samg_ros.files.schema import convert
from samg_ros.observation import ObservationSpec

PRESETS = ('quick', 'evening', 'paper')
"""quick: two CPU cores, minutes. evening: two CPU cores, up to three hours.
paper: the figures of SAM-G and DrQ-v2, for a GPU."""

AGENTS = ('drqv2', 'svea', 'pieg')
"""Names of the agents; `samg_ros.rl.agents` builds them."""

STRONG_AUGMENTATIONS = ('overlay', 'convolution')
"""overlay: half the observation, half another picture. convolution: a random 3 x 3 one."""

IMITATION = 'imitation'
"""Name of the agent that learns from an expert's actions (`samg train clone`), not from reward."""

RESNETS = ('resnet18', 'resnet34', 'resnet50')
"""Frozen encoders, by timm's names."""

DTYPES = ('float32', 'bfloat16')
"""Types that the networks compute in while they learn."""

_AT_LEAST_1 = (
    'camera_size',
    'action_repeat',
    'steps',
    'update_every',
    'replay_capacity',
    'batch_size',
    'n_step',
    'noise_steps',
    'feature_dim',
    'hidden_dim',
    'checkpoint_every',
)
_AT_LEAST_0 = (
    'seed',
    'critic_first',
    'expert_episodes',
    'svea_alpha',
    'svea_beta',
    'random_steps',
    'noise_start',
    'noise_end',
    'noise_clip',
    'squash_penalty',
    'shift_pad',
)
_MOST_LAYERS, _WIDEST = 32, 2**16
"""Of networks: no machine has memory for more, and a wrong number is found before it is tried."""
_AT_MOST = {
    'seed': 2**63 - 1,
    'camera_size': 8192,
    'steps': 10**12,
    'replay_capacity': 10**12,
    'batch_size': 2**20,
    'n_step': 10_000,
    'feature_dim': _WIDEST,
    'hidden_dim': _WIDEST,
    'shift_pad': 1024,
}
_ONE_OF = {
    'agent': (*AGENTS, IMITATION),
    'strong_augmentation': STRONG_AUGMENTATIONS,
    'resnet': RESNETS,
    'dtype': DTYPES,
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training run computes.

    Raises:
        ConfigError: if a value is out of range; the message names the field.
    """

    task: str = 'cartpole_swingup'
    """Task to train on, as `samg_ros.sim.tasks` names it."""
    preset: str = 'quick'
    """The preset that the other values came from."""
    seed: int = 0
    """Seed of the simulation, the network weights, the exploration and the replay."""
    agent: str = 'drqv2'
    """What learns: DrQ-v2, SVEA, or PIE-G with its frozen encoder, one of AGENTS; a clone's is
    IMITATION."""
    observation: ObservationSpec = field(default_factory=ObservationSpec)
    """What the policy sees."""
    setting: str = 'train'
    """Visual setting to train in."""
    camera_size: int = 84
    """Side of the square camera frame in pixels, on which the masking works."""
    quality: str = 'fast'
    """How the simulator renders: fast, or paper, the very pixels of dm_control."""
    composite: str = 'segmentation'
    """How a video is put behind the robot: segmentation, exactly, or chroma_key, DMC-GB's green
    screen with its fringes."""
    action_repeat: int = 2
    """Control steps of the simulation for one action; environment frames = steps x this."""
    steps: int = 550_000
    """Training budget in agent steps."""
    random_steps: int = 2_000
    """Agent steps with uniformly random actions at the start."""
    update_after: int = 2_000
    """Agent steps before the first update."""
    update_every: int = 2
    """Agent steps between two updates."""
    replay_capacity: int = 1_000_000
    """Time steps that the replay remembers."""
    batch_size: int = 256
    """Transitions in one update."""
    start: str = ''
    """Checkpoint whose encoder and actor a new run begins with; empty for random ones."""
    critic_first: int = 0
    """Agent steps until encoder and actor learn too: the critic of a run that starts from a policy
    knows nothing yet, and would first of all unlearn it."""
    expert_episodes: int = 0
    """Episodes of the package's expert that the replay of a new run begins with."""
    demonstrated_share: float = 0.0
    """Share of each batch that is drawn from what the replay began with; 0 draws uniformly."""
    n_step: int = 3
    """Rewards summed before the bootstrap value."""
    discount: float = 0.99
    """Discount of one agent step."""
    reward_scale: float = 1.0
    """Factor on rewards inside the updates; values in the hundreds are learned slowly."""
    learning_rate: float = 1e-4
    """Learning rate of Adam for encoder, actor and critic."""
    target_rate: float = 0.01
    """Share of the critic that moves into its target at every update (tau)."""
    noise_start: float = 1.0
    """Standard deviation of the exploration noise at the first step."""
    noise_end: float = 0.1
    """Standard deviation of the exploration noise after `noise_steps`."""
    noise_steps: int = 50_000
    """Agent steps over which the noise falls linearly."""
    noise_clip: float = 0.3
    """Limit of the noise in the actions that the updates are computed with."""
    squash_penalty: float = 0.0
    """Weight of the squared outputs before the actor's tanh, against early saturation."""
    shift_pad: int = 4
    """Largest random shift of the observations in pixels."""
    strong_augmentation: str = 'overlay'
    """What SVEA and PIE-G do to a copy of the observations; one of STRONG_AUGMENTATIONS."""
    overlay_images: str = ''
    """Folder of the pictures that 'overlay' mixes in; empty for painted ones."""
    svea_alpha: float = 0.5
    """SVEA's weight of the critic's error on observations as they are."""
    svea_beta: float = 0.5
    """SVEA's weight of the critic's error on strongly augmented ones; 0 makes none."""
    pixel_offset: float = 0.5
    """Subtracted from pixels in 0 to 1; with 0, a black background is nothing to the network."""
    convolutions: tuple[tuple[int, int, int], ...] = (
        (32, 3, 2),
        (32, 3, 1),
        (32, 3, 1),
        (32, 3, 1),
    )
    """Layers of the encoder as channels, kernel, stride."""
    resnet: str = 'resnet18'
    """PIE-G's frozen encoder; one of RESNETS."""
    resnet_weights: str = ''
    """Its weights: a file, a folder, or a hub id; empty for those of torchvision on the hub."""
    feature_dim: int = 50
    """Width of the layer between the encoder and each head."""
    hidden_dim: int = 1024
    """Width of the two hidden layers of actor and critics."""
    dtype: str = 'float32'
    """What the networks compute in while they learn; bfloat16 where the machine is fast at it."""
    compile: bool = False
    """Compile the networks with torch.compile; on a GPU, with CUDA graphs."""
    checkpoint_every: int = 5_000
    """Agent steps between two checkpoints."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            self._check(name, not isinstance(value, float) or math.isfinite(value), 'finite')
        for name, most in _AT_MOST.items():
            self._check(name, getattr(self, name) <= most, f'at most {most}')
        for name in _AT_LEAST_1:
            self._check(name, getattr(self, name) >= 1, 'at least 1')
        for name in _AT_LEAST_0:
            self._check(name, getattr(self, name) >= 0, 'at least 0')
        for name, known in _ONE_OF.items():
            self._check(name, getattr(self, name) in known, f'one of {", ".join(known)}')
        both = self.svea_alpha + self.svea_beta
        self._check('svea_alpha', both > 0, 'above 0 where svea_beta is 0')
        share = self.demonstrated_share
        self._check('demonstrated_share', 0 <= share <= 1, 'from 0 to 1')
        self._check('update_after', self.update_after >= 2, 'at least 2')
        self._check('discount', 0 < self.discount <= 1, 'above 0 and at most 1')
        self._check('reward_scale', self.reward_scale > 0, 'above 0')
        self._check('learning_rate', self.learning_rate > 0, 'above 0')
        self._check('target_rate', 0 < self.target_rate <= 1, 'above 0 and at most 1')
        layers = tuple((int(c), int(k), int(s)) for c, k, s in self.convolutions)
        self._check('convolutions', 0 < len(layers) <= _MOST_LAYERS
                    and min(map(min, layers)) >= 1 and max(map(max, layers)) <= _WIDEST,
                    f'at most {_MOST_LAYERS} layers of numbers from 1 to {_WIDEST}')
        object.__setattr__(self, 'convolutions', layers)

    def _check(self, name: str, good: bool, wanted: str) -> None:
        if not good:
            raise ConfigError(f'{name} must be {wanted}, got {getattr(self, name)!r}')

    def noise(self, step: int) -> float:
        """Return the exploration noise's standard deviation at an agent step."""
        share = min(step / self.noise_steps, 1.0)
        return self.noise_start + share * (self.noise_end - self.noise_start)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration in plain JSON types."""
        values = asdict(self)
        values['observation'] = self.observation.to_dict()
        values['convolutions'] = [list(layer) for layer in self.convolutions]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> 'TrainConfig':
        """Rebuild a configuration from `to_dict`.

        Raises:
            ConfigError: if a key is unknown or a value out of range.
        """
        return override(cls(), dict(values))


_KINDS = get_type_hints(TrainConfig)


def field_help() -> dict[str, str]:
    """Return every field's docstring, for command lines and parameter descriptors."""
    body = ast.parse(textwrap.dedent(inspect.getsource(TrainConfig))).body[0]
    assert isinstance(body, ast.ClassDef)
    help_of: dict[str, str] = {}
    for line, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(line, ast.AnnAssign) and isinstance(after, ast.Expr):
            help_of[ast.unparse(line.target)] = ast.literal_eval(after.value)
    return help_of


def override(config: TrainConfig, values: dict[str, Any]) -> TrainConfig:
    """Replace fields by name, turning plain JSON types into the fields' types."""
    known = {f.name: f for f in fields(TrainConfig)}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(
                f"unknown training setting '{name}'; known are {', '.join(sorted(known))}"
            )
        old = getattr(config, name)
        if name == 'observation' and isinstance(value, Mapping):
            value = ObservationSpec.from_dict({**old.to_dict(), **value})
        kind = ObservationSpec if name == 'observation' else _KINDS[name]
        values[name] = convert(value, kind, name, ConfigError)
    return replace(config, **values)

# SPDX-License-Identifier: Apache-2.0
"""The settings of a training run, as one dataclass that a reader can take in at a glance.

The dataclass is the configuration file, the command line and its help at once, and it travels
in the checkpoint. Budgets and schedules count agent steps, never seconds, so that a run is the
same run on every machine.
"""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal, get_args, get_type_hints

from msgspec import Meta

from samg_ros.errors import ConfigError
from samg_ros.files.schema import convert
from samg_ros.observation import ObservationSpec

PRESETS = ('quick', 'evening', 'paper')
"""quick: two CPU cores, minutes. evening: two CPU cores, up to three hours.
paper: the figures of SAM-G and DrQ-v2, for a GPU."""

IMITATION = 'imitation'
"""Name of the agent that learns from an expert's actions (`samg train clone`), not from reward."""

Agent = Literal['drqv2', 'svea', 'pieg', 'imitation']
StrongAugmentation = Literal['overlay', 'convolution']
"""overlay: half the observation, half another picture. convolution: a random 3 x 3 one."""
Resnet = Literal['resnet18', 'resnet34', 'resnet50']
Dtype = Literal['float32', 'bfloat16']

AGENTS = tuple(name for name in get_args(Agent) if name != IMITATION)
"""Names of the agents that learn from reward; `samg_ros.rl.agents` builds them."""
DTYPES = get_args(Dtype)

_WIDEST = 2**16
"""Of networks: no machine has memory for more, and a wrong number is found before it is tried."""

Count = Annotated[int, Meta(ge=1, le=10**12)]
NotNegative = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Weight = Annotated[float, Meta(ge=0)]
Width = Annotated[int, Meta(ge=1, le=_WIDEST)]
Layers = Annotated[tuple[tuple[Width, Width, Width], ...], Meta(min_length=1, max_length=32)]


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
    seed: NotNegative = 0
    """Seed of the simulation, the network weights, the exploration and the replay."""
    agent: Agent = 'drqv2'
    """What learns: DrQ-v2, SVEA, or PIE-G with its frozen encoder; a clone's is 'imitation'."""
    observation: ObservationSpec = field(default_factory=ObservationSpec)
    """What the policy sees."""
    setting: str = 'train'
    """Visual setting to train in."""
    camera_size: Annotated[int, Meta(ge=1, le=8192)] = 84
    """Side of the square camera frame in pixels, on which the masking works."""
    quality: str = 'fast'
    """How the simulator renders: fast, or paper, the very pixels of dm_control."""
    composite: str = 'segmentation'
    """How a video is put behind the robot: segmentation, exactly, or chroma_key, DMC-GB's green
    screen with its fringes."""
    action_repeat: Count = 2
    """Control steps of the simulation for one action; environment frames = steps x this."""
    steps: Count = 550_000
    """Training budget in agent steps."""
    random_steps: NotNegative = 2_000
    """Agent steps with uniformly random actions at the start."""
    update_after: Annotated[int, Meta(ge=2)] = 2_000
    """Agent steps before the first update."""
    update_every: Count = 2
    """Agent steps between two updates."""
    replay_capacity: Count = 1_000_000
    """Time steps that the replay remembers."""
    batch_size: Annotated[int, Meta(ge=1, le=2**20)] = 256
    """Transitions in one update."""
    start: str = ''
    """Checkpoint whose encoder and actor a new run begins with; empty for random ones."""
    critic_first: NotNegative = 0
    """Agent steps until encoder and actor learn too: the critic of a run that starts from a policy
    knows nothing yet, and would first of all unlearn it."""
    expert_episodes: NotNegative = 0
    """Episodes of the package's expert that the replay of a new run begins with."""
    demonstrated_share: Share = 0.0
    """Share of each batch that is drawn from what the replay began with; 0 draws uniformly."""
    n_step: Annotated[int, Meta(ge=1, le=10_000)] = 3
    """Rewards summed before the bootstrap value."""
    discount: Annotated[float, Meta(gt=0, le=1)] = 0.99
    """Discount of one agent step."""
    reward_scale: Positive = 1.0
    """Factor on rewards inside the updates; values in the hundreds are learned slowly."""
    learning_rate: Positive = 1e-4
    """Learning rate of Adam for encoder, actor and critic."""
    target_rate: Annotated[float, Meta(gt=0, le=1)] = 0.01
    """Share of the critic that moves into its target at every update (tau)."""
    noise_start: Weight = 1.0
    """Standard deviation of the exploration noise at the first step."""
    noise_end: Weight = 0.1
    """Standard deviation of the exploration noise after `noise_steps`."""
    noise_steps: Count = 50_000
    """Agent steps over which the noise falls linearly."""
    noise_clip: Weight = 0.3
    """Limit of the noise in the actions that the updates are computed with."""
    squash_penalty: Weight = 0.0
    """Weight of the squared outputs before the actor's tanh, against early saturation."""
    shift_pad: Annotated[int, Meta(ge=0, le=1024)] = 4
    """Largest random shift of the observations in pixels."""
    strong_augmentation: StrongAugmentation = 'overlay'
    """What SVEA and PIE-G do to a copy of the observations."""
    overlay_images: str = ''
    """Folder of the pictures that 'overlay' mixes in; empty for painted ones."""
    svea_alpha: Weight = 0.5
    """SVEA's weight of the critic's error on observations as they are."""
    svea_beta: Weight = 0.5
    """SVEA's weight of the critic's error on strongly augmented ones; 0 makes none."""
    pixel_offset: float = 0.5
    """Subtracted from pixels in 0 to 1; with 0, a black background is nothing to the network."""
    convolutions: Layers = (
        (32, 3, 2),
        (32, 3, 1),
        (32, 3, 1),
        (32, 3, 1),
    )
    """Layers of the encoder as channels, kernel, stride."""
    resnet: Resnet = 'resnet18'
    """PIE-G's frozen encoder."""
    resnet_weights: str = ''
    """Its weights: a file, a folder, or a hub id; empty for those of torchvision on the hub."""
    feature_dim: Width = 50
    """Width of the layer between the encoder and each head."""
    hidden_dim: Width = 1024
    """Width of the two hidden layers of actor and critics."""
    dtype: Dtype = 'float32'
    """What the networks compute in while they learn; bfloat16 where the machine is fast at it."""
    compile: bool = False
    """Compile the networks with torch.compile; on a GPU, with CUDA graphs."""
    checkpoint_every: Count = 5_000
    """Agent steps between two checkpoints."""

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            value = convert(getattr(self, name), kind, name, ConfigError)
            object.__setattr__(self, name, value)
        if self.svea_alpha + self.svea_beta == 0:
            raise ConfigError('svea_alpha is 0, and so is svea_beta; one of them must be above 0')

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


_KINDS = get_type_hints(TrainConfig, include_extras=True)


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
    if unknown := sorted(values.keys() - _KINDS.keys()):
        raise ConfigError(f"unknown training setting '{unknown[0]}'; known are "
                          f'{", ".join(sorted(_KINDS))}')
    seen = values.get('observation')
    if isinstance(seen, Mapping):
        seen = ObservationSpec.from_dict({**config.observation.to_dict(), **seen})
        values = {**values, 'observation': seen}
    return replace(config, **values)

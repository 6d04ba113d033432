# SPDX-License-Identifier: Apache-2.0
"""The errors of this package, and text made safe to show.

One base class, so that a command line can turn any of them into one line and a node into one
diagnostic. Every message says what was wrong, what was expected and what to do.
"""

LONGEST = 500
"""Characters of one shown text; longer ones are cut."""
LONGEST_ERROR = 2000
"""Characters of an error's text that are shown."""


class SamgError(Exception):
    """Base of every error that samg_ros raises on purpose.

    Its text is one line that is safe to show, whatever of a message or a file it quotes.
    """

    def __str__(self) -> str:
        """Return the text on one line, escaped and at most LONGEST_ERROR long."""
        return plain(' '.join(map(str.strip, super().__str__().splitlines())), LONGEST_ERROR)


class InvalidInputError(SamgError, ValueError):
    """An argument of a public function has the wrong type, shape, dtype or range."""


class EmptyMaskError(InvalidInputError):
    """A mask that must mark something marks nothing."""


class NotFittedError(SamgError, RuntimeError):
    """A masker was asked for masks before it was given a reference."""


class ReferenceLoadError(SamgError):
    """A reference cannot be read from disk."""


class UnknownTaskError(SamgError, ValueError):
    """No task has the given name."""


class UnknownSettingError(SamgError, ValueError):
    """No visual setting has the given name."""


class UnknownModelError(SamgError, ValueError):
    """No model has the given name."""


class WeightsError(SamgError):
    """A weight file is missing, unreadable, or does not fit its architecture."""


class CheckpointError(SamgError):
    """A training checkpoint is missing, cut short, or belongs to something else."""


class ExpertError(SamgError):
    """There is no expert for a task, or the one that was given is not meant for it."""


class DemonstrationError(SamgError):
    """Demonstrations cannot be read or written, or do not fit what they are wanted for."""


class VideoError(SamgError):
    """A background video or a folder of them cannot be used."""


class PictureError(InvalidInputError):
    """A picture cannot be read or written: damaged, cut short, too large, or not one."""


class EncodingError(SamgError, ValueError):
    """An image message has an encoding that cannot be converted."""


class BagError(SamgError):
    """A bag cannot be read or written, or lacks what is asked of it."""


class CommandError(SamgError, ValueError):
    """A command has the wrong length or is not finite."""


class ConfigError(SamgError, ValueError):
    """A value in a configuration file or on the command line cannot be used."""


class OutputError(SamgError):
    """A file or folder of results cannot be written, or would replace what is not ours."""


class ReportError(SamgError):
    """A file of evaluated episodes cannot be read."""


class MissingDependencyError(SamgError):
    """Something that must be installed on this machine is not."""


_INSTALL_NAMES = {'PIL': 'pillow', 'cv2': 'opencv-python-headless', 'gymnasium_robotics':
                  'gymnasium-robotics', 'segment_anything': 'segment-anything', 'yaml': 'pyyaml'}
"""Modules whose package has another name for pip."""


def missing_dependency(error: ModuleNotFoundError) -> MissingDependencyError:
    """Return the error that says which package is not installed and how to install it.

    Raises:
        ModuleNotFoundError: the error itself if the module is one of this package: a fault of
            ours keeps its traceback.
    """
    module = (error.name or 'samg_ros').partition('.')[0]
    if module == 'samg_ros':
        raise error
    package = _INSTALL_NAMES.get(module, module)
    return MissingDependencyError(
        f"the Python package '{module}' is not installed; run `pip install {package}` in the "
        "environment that runs this (on a ROS 2 machine the workspace's: docs/install.md). `samg "
        'doctor` lists everything that is missing')


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its class's name if it has none."""
    return str(error).partition('\n')[0] or type(error).__name__


def plain(text: object, longest: int = LONGEST) -> str:
    r"""Return a text that cannot control a terminal, forge a log line or fill a disk.

    Control characters (escape codes, line ends), invisible ones (such as those that turn the
    writing direction) and half surrogates become escapes such as \x1b or \u202e.

    Args:
        text: anything; `str` is called on it.
        longest: characters that are kept; the end says how many were left out.
    """
    words = str(text)
    shown = ''.join(each if each.isprintable() else escaped(each) for each in words[:longest])
    left_out = len(words) - longest
    return f'{shown} ... ({left_out} more characters)' if left_out > 0 else shown


def escaped(character: str) -> str:
    """Return a character as its escape in Python source."""
    return character.encode('unicode_escape', 'surrogatepass').decode('ascii')

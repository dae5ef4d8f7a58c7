"""What --resume does with what an earlier run has left in the out_path."""

from __future__ import annotations

from enum import Enum, auto
from typing import Literal

Resume = Literal["no", "yes", "if_same"]


class State(Enum):
    """models/training.pth, which an interrupted training leaves."""

    NONE = auto()
    SAME = auto()  # of the training that is asked for
    OTHER = auto()  # of other settings, frames or pseudo-labels; or damaged


class Saved(Enum):
    """The epochs whose checkpoints and masks are there."""

    SOME = auto()  # of this training: none, or not all that it saves
    ALL = auto()
    OTHER = auto()  # of another training


class Decision(Enum):
    START = auto()  # from the start
    GO_ON = auto()  # after the last epoch of the state
    COMPLETE = auto()  # nothing is left to do
    REFUSE_STATE = auto()  # an error: the state would be lost
    REFUSE_SAVED = auto()  # an error: the saved epochs would be lost


def decide(resume: Resume, state: State, saved: Saved | None) -> Decision:
    """``saved`` may be None where `asks_for_saved` says so: it makes no difference there."""
    match resume, state, saved:
        case "no", _, _:
            return Decision.START
        case _, State.SAME, _:
            return Decision.GO_ON
        case "yes", State.OTHER, _:
            return Decision.REFUSE_STATE
        case _, _, Saved.ALL:
            return Decision.COMPLETE
        case "yes", _, Saved.OTHER:
            return Decision.REFUSE_SAVED
        case _:
            return Decision.START


def asks_for_saved(resume: Resume, state: State) -> bool:
    """Whether the decision depends on the epochs that are there, all of which have to be read."""
    return len({decide(resume, state, saved) for saved in Saved}) > 1

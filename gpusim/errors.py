"""The exceptions that say in a sentence what cannot be done, or what came of it that is no number."""

import reprlib
from typing import Any


def told(value: Any) -> str:
    """A value in one short line, for a sentence."""
    try:
        return " ".join(reprlib.repr(value).split())
    except ValueError:  # Python writes no whole number of thousands of digits
        return "a number of thousands of digits"


def said(error: BaseException) -> str:
    """The first line of what an error says, without its stop; nothing, where it cannot say it."""
    try:
        return (str(error).splitlines() or [""])[0].rstrip(".")
    except Exception:  # of the author's
        return ""


class InputError(ValueError):
    """Bad input, refused before anything changed. On the command line: the sentence alone, and exit code 2."""

    def __init__(self, sentence: str = ""):
        super().__init__(" ".join(sentence.splitlines()))  # of what it quotes, too


class NotFinite(FloatingPointError):
    """A quantity became NaN or infinite, and what was asked for ended there. On the command line: the sentence, and exit
    code 1.

    Attributes:
        quantity: what: "reward", "observation", "weights", "policy".
        environment: index of the environment, None where it is none's.
        episode: number of its episode since seeding, from 0.
        step: how many steps of that episode had been made; an episode's first observation is of step 0.
        seed: of the environments.
        iteration: how many iterations the learner had made, or 1 more, when it was seen.
        actions: of that episode, to the step that was found, `[step]` or `[step, d]`, a tensor; None where they are not
            known (on a GPU, and of an episode that began long before).
    """

    def __init__(self, sentence: str, quantity: str = "", **place: int | None):
        super().__init__(sentence)
        self.quantity = quantity
        self.environment: int | None = place.get("environment")
        self.episode: int | None = place.get("episode")
        self.step: int | None = place.get("step")
        self.seed: int | None = place.get("seed")
        self.iteration: int | None = place.get("iteration")
        self.actions: Any = None

    def __reduce__(self) -> Any:
        return type(self), self.args, self.__dict__

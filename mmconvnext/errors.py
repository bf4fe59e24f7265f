"""The one family of errors that end a command as a sentence."""

from typing import Any


class UserError(ValueError):
    """Something the user gave cannot be used: an option, a config, data, a checkpoint, or the machine.

    The command line prints its message and exits with status 2. Every other exception is a bug and keeps its traceback.

    Args:
        message: What was wrong, where, and what would be right, in sentences.
        facts: What the message is about, by name, for programs and tests: ``error.facts['index']``.
    """

    def __init__(self, message: str, /, **facts: Any) -> None:
        super().__init__(message)
        self.facts = facts

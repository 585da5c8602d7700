"""What became of a case, and a time limit for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

__all__ = ["Outcome", "limited", "one_line_or_reason"]

_LONGEST = 1000


@dataclass(frozen=True)
class Outcome:
    """A case: its kind, what is needed to see it again, and what went wrong ("" where it survived)."""

    kind: str
    case: str
    failure: str = ""


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the block after so many seconds."""

    def end(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"it takes more than {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def one_line_or_reason(message: str) -> str:
    """Why a refusal is no clear line; "" where it is one."""
    if not message.strip():
        return "an empty message"
    if "\n" in message.strip():
        return f"a message of several lines: {message[:200]!r}"
    return f"a message of {len(message)} characters" if len(message) >= _LONGEST else ""

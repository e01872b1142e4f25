"""The shared clock and the control page of a sidecar."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum

from . import _native
from ._rings import SHM

MAX_AHEAD_NS = 1_000_000
"""Stamps may lie ahead of a reader's clock by no more than this: counters of two cores differ by less than 1 µs."""


class Clock:
    """The clock of this boot: all stamps, of all processes, are on it. ns since the UNIX epoch; never runs backwards."""

    def __init__(self, dir: str | os.PathLike[str] = SHM) -> None:
        """Attaches to the clock in ``dir``. Who makes the first region makes the clock; readers wait for it.

        Raises:
            AbsentError: nobody has made one since the machine started.
            UntrustedError: it is somebody's who does not count.
        """
        self._native = _native.Clock(os.fspath(dir))

    def now_ns(self) -> int:
        """Now, ns since the epoch."""
        return self._native.now_ns()

    def offset_ns(self) -> int:
        """ns that it is ahead of the wall clock now; less than 0 behind it."""
        return self._native.offset_ns()

    @property
    def id(self) -> int:
        """Id of its conversion, in the header of every region whose stamps are on it."""
        return self._native.id


class State(str, Enum):
    """What a sidecar says it is doing."""

    BOOT = "BOOT"
    """Starting, or waiting for its ticks."""
    RUN = "RUN"
    """Publishing signals."""
    HALT = "HALT"
    """Keeping books and features warm, publishing nothing tradable."""
    FAIL = "FAIL"
    """Ended by a fault."""
    STOPPED = "STOPPED"
    """Ended as asked."""


class Outcome(str, Enum):
    """What the sidecar made of a request."""

    DONE = "done"
    """Done, and visible on the page: HALT is in force, or ended, or the state is STOPPED (or FAIL)."""
    REFUSED = "refused"
    """Not done: it makes no sense in this state."""
    UNKNOWN = "unknown"
    """Not a command of its version."""


@dataclass(frozen=True)
class Counters:
    """What a sidecar has counted since it started."""

    events: int
    signals: int
    gaps: int
    lost: int
    rejects: int
    conflated: int
    invalid: int
    generation_changes: int


@dataclass(frozen=True)
class Stage:
    """Percentiles of one stage, ns."""

    count: int
    p50: int
    p90: int
    p99: int
    p999: int
    p9999: int
    max: int


class Control:
    """A look at a sidecar's page. With ``operator=True`` it may halt, resume and stop it, and needs no clock."""

    def __init__(self, lane: str, *, dir: str | os.PathLike[str] = SHM, operator: bool = False) -> None:
        """Attaches to the page of ``lane`` in ``dir``, for reading only unless ``operator``.

        Raises:
            AbsentError: there is no such page (yet).
            DeniedError: this user may not read it, or not write it as an operator.
        """
        self._native = _native.Control(lane, os.fspath(dir), operator)

    @property
    def state(self) -> State:
        """What the page says; a dead sidecar's page says its last word: see :attr:`owner_alive` and :meth:`alive`."""
        return State(self._native.state())

    @property
    def halted(self) -> bool:
        """Whether a HALT is in force; it outlives restarts until someone resumes."""
        return self._native.halted()

    @property
    def heartbeat_ns(self) -> int:
        """The last heartbeat, ns since the epoch; 0 before the first."""
        return self._native.heartbeat_ns()

    @property
    def heartbeat_age_ns(self) -> int | None:
        """ns since the last heartbeat; None before the first, where there is no clock, and for one more than ``MAX_AHEAD_NS`` in the future: a
        scribbler's, which would count as fresh for ever."""
        beat = self._native.heartbeat_ns()
        now = self._native.now_ns()
        if now is None:
            return None
        age = now - beat
        return max(0, age) if beat and age >= -MAX_AHEAD_NS else None

    def alive(self, max_age_ns: int = 1_000_000_000) -> bool:
        """Whether the sidecar beats and has not ended: its state is BOOT, RUN or HALT, and its last heartbeat at most
        ``max_age_ns`` old and not in the future. No system call. It says nothing of what may be traded: that takes RUN."""
        if self.state in (State.FAIL, State.STOPPED):
            return False
        age = self.heartbeat_age_ns
        return age is not None and age <= max_age_ns

    @property
    def owner_alive(self) -> bool:
        """Whether the process lives, by the kernel's word (a system call)."""
        return self._native.owner_alive()

    @property
    def superseded(self) -> bool:
        """Whether the name stands for another page now, or for none: attach again."""
        return self._native.superseded()

    @property
    def counters(self) -> Counters:
        """The counters, each as last stored."""
        return Counters(**dict(self._native.counters()))

    def stages(self) -> dict[str, Stage] | None:
        """Percentiles of each stage, in the order of the line; None before the first, or from a sidecar that died while
        it wrote them."""
        stages = self._native.stages()
        return None if stages is None else {name: Stage(*values) for name, values in stages}

    @property
    def ticks_consumed(self) -> int:
        """Ticks done with since the sidecar started, lost ones included; their signals are published."""
        return self._native.ticks_consumed()

    def consumed_of(self, generation: int) -> int:
        """Ticks done with of this generation of the tick ring; 0 until the sidecar reads it."""
        return self._native.consumed_of(generation)

    @property
    def pid(self) -> int:
        """Process id of the sidecar in its own pid namespace: for messages."""
        return self._native.pid()

    @property
    def created_ns(self) -> int:
        """When the page was made, ns since the epoch."""
        return self._native.created_ns()

    @property
    def generation(self) -> int:
        """Life of the name, from 1."""
        return self._native.generation()

    def halt(self, timeout_s: float = 1.0) -> Outcome:
        """Publish nothing tradable until resumed, whether the sidecar lives or not: the next one starts halted.

        Raises:
            NoAnswerError: no answer within ``timeout_s``; it may still be obeyed later.
            AbsentError: the page has been removed.
            DeniedError: attached without ``operator=True``.
        """
        return Outcome(self._native.request("halt", timeout_s))

    def resume(self, timeout_s: float = 1.0) -> Outcome:
        """End a HALT, whether the sidecar lives or not; raises as :meth:`halt` does."""
        return Outcome(self._native.request("resume", timeout_s))

    def stop(self, timeout_s: float = 1.0) -> Outcome:
        """End the lane; raises as :meth:`halt` does, and NoOwnerError when the sidecar is gone."""
        return Outcome(self._native.request("stop", timeout_s))

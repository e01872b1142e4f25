"""What is refused. Every message names the thing, the value, the place and the mend."""


class Error(Exception):
    """A refusal or failure at create, attach or request; the more telling ones have classes of their own."""


class AbsentError(Error, FileNotFoundError):
    """There is no such region: its owner has not started, or the lane's name is another."""


class HeldError(Error):
    """A live process owns the name."""


class MismatchError(Error, ValueError):
    """The file is no Pillion region, or of another version, kind, clock or size."""


class DeniedError(Error, PermissionError):
    """The kernel, or a handle attached for reading only, forbids it."""


class UntrustedError(Error, PermissionError):
    """Somebody who does not count owns it, or may write it or put another file in its place."""


class NoOwnerError(Error):
    """The sidecar that should answer is gone."""


class NoAnswerError(Error, TimeoutError):
    """The sidecar did not answer in time, or its answer was overwritten by later ones."""


class ArgumentError(Error, ValueError):
    """A lane's name, a size, a mode or a table's text is not usable."""


class UnknownNameError(Error, KeyError):
    """No instrument or model of that name is in the tables."""

    def __str__(self) -> str:
        return str(self.args[0])


class RevisionError(Error):
    """A signal is of another revision of its model than the tables: its outputs may have other names and meanings."""


class BusyError(Error):
    """A cell was being written at each of a thousand looks: its writer was descheduled or died in the middle."""

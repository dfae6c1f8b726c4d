"""What the hub's services refuse, as exceptions that the faces (REST, gRPC, CLI) translate and never have to interpret.

Each carries a stable `code` for programs, a `message` that names the value at fault and a `mend` that says what to do
about it. Whatever is not a HubError is a bug of the hub.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from placement.kinds.problems import Problem


class HubError(Exception):
    """Base: the caller asked for something that is not done, and nothing was changed."""

    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, code: str, mend: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.mend = mend
        self.problems = tuple(problems)


class Unauthenticated(HubError):
    """Nobody the hub knows: no token, or a wrong, used or expired one."""

    http_status = 401


class Forbidden(HubError):
    """Known, but not allowed to do this."""

    http_status = 403


class NotFound(HubError):
    """No such thing, or another tenant's: the two are told apart by nobody."""

    http_status = 404


class ConflictError(HubError):
    """It exists already, or is not in a state in which this can be done."""

    http_status = 409


class TooLarge(HubError):
    http_status = 413


class Invalid(HubError):
    """The content is at fault; `problems` names each field."""

    http_status = 422

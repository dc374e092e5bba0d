"""Who may look: one callback of the host's, asked before anything is read; closed without one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from inspect import isawaitable, signature
from ipaddress import IPv6Address, ip_address
from typing import Any, TypeAlias

from anyio import from_thread
from starlette.concurrency import run_in_threadpool

from lifecycle.errors import ConfigurationError

__all__ = ["Access", "Gate", "Subject", "UserOf", "is_local"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What someone wants to see: a page, and what its address names.

    ``page`` is one of ``feed``, ``object``, ``field``, ``record``, ``revision``, ``group``,
    ``actor``, ``related``, ``coverage``, ``export``, ``views``, ``help``, ``undo`` and ``restore``.
    Of the last two access is asked with what the address names, and about each object with its
    entity and key.
    ``entity`` is ``None`` where the page shows records of any entity.
    """

    page: str
    entity: str | None = None
    key: str | None = None
    field: str | None = None
    record: str | None = None
    revision: str | None = None
    group: str | None = None
    actor: str | None = None


def _takes(function: Callable[..., Any], *arguments: str) -> bool:
    try:
        signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # a built-in that does not tell
        return True
    return True


Access: TypeAlias = Callable[[Any, str, Subject], "bool | Awaitable[bool]"]
"""``access(user, action, subject)``: may this user of the host do this?"""

UserOf: TypeAlias = Callable[[Mapping[str, Any]], Any]
"""``user(scope)``: the host's user of a request, or an awaitable of it."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets a request in or not. Raises ``ConfigurationError`` when nothing says who may look."""

    access: Access | None
    local_only: bool = False
    field_rights: bool = False
    user: UserOf | None = None

    def __post_init__(self) -> None:
        if self.access is None and not self.local_only:
            raise ConfigurationError(
                "create_app was not told who may see the history, so it would refuse everyone; "
                "pass access=function(user, action, subject) -> bool, "
                "or local_only=True to answer this machine alone"
            )
        if self.field_rights and self.access is None:
            raise ConfigurationError(
                "field_rights=True has access asked about every field, and there is no access; "
                "pass access=function(user, action, subject) -> bool"
            )
        if self.access is not None and not callable(self.access):
            raise ConfigurationError(
                f"access={self.access!r} cannot be called; "
                "pass a function(user, action, subject) -> bool"
            )
        if self.access is not None and not _takes(self.access, "user", "action", "subject"):
            raise ConfigurationError(
                f"access={self.access!r} cannot be called as access(user, action, subject); "
                "change its parameters"
            )
        if self.user is not None and not (callable(self.user) and _takes(self.user, "scope")):
            raise ConfigurationError(
                f"user={self.user!r} cannot be called as user(scope); "
                "pass a function that takes a request's scope and returns the host's user"
            )

    async def user_of(self, scope: Mapping[str, Any]) -> Any:
        """The host's user of a request; a plain function is asked in a worker thread."""
        if self.user is None:
            return scope.get("user")
        user = await run_in_threadpool(self.user, scope)
        return await user if isawaitable(user) else user

    async def admits(self, user: Any, action: str, subject: Subject) -> bool:
        """Whether the host's callback says yes; a plain function is called in a worker thread.

        Raises ``ConfigurationError`` when it answers anything but True or False.
        """
        if self.access is None:
            return True
        answer = await run_in_threadpool(self.access, user, action, subject)
        return _checked(await answer if isawaitable(answer) else answer, action, subject)

    def admits_here(self, user: Any, action: str, subject: Subject) -> bool:
        """The same in a worker thread, without a way to the event loop and back for each question.

        Only what a callback has to wait for is awaited there.
        """
        if self.access is None:
            return True
        answer = self.access(user, action, subject)
        return _checked(
            from_thread.run(_awaited, answer) if isawaitable(answer) else answer, action, subject
        )


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


def _checked(answer: Any, action: str, subject: Subject) -> bool:
    if not isinstance(answer, bool):
        raise ConfigurationError(
            f"access answered {action!r} on {subject!r} with {answer!r}, "
            "so the page was refused; it must return True or False"
        )
    return answer


_FORWARDED = frozenset(
    {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"}
)


def is_local(scope: Mapping[str, Any]) -> bool:
    """Whether a request comes from this machine and means this machine.

    The client's address alone does not tell: a page elsewhere can have its name resolve to
    127.0.0.1, and a proxy here can speak for anyone. So the Host header must name this machine,
    and nothing may say that the request was passed on.
    """
    client = scope.get("client")
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    passed_on = any(name in _FORWARDED for name, _ in scope["headers"])
    return (
        client is not None
        and not passed_on
        and len(hosts) == 1
        and _is_loopback(client[0])
        and _is_loopback(_host_name(hosts[0].decode("latin-1")))
    )


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_loopback(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback

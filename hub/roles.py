"""What a role may not do, refused in the same words everywhere. Whose data it is, each service judges itself."""

from __future__ import annotations

from hub.errors import Forbidden
from hub.records import Actor, UserRole


def admins_only(actor: Actor, what: str) -> None:
    """`what`: "change prices". Raises Forbidden."""
    if actor.role is not UserRole.ADMIN:
        raise Forbidden(
            f"{actor.user} is a {actor.role.value} and may not {what}", code="admins-only", mend="ask an admin to do it"
        )


def no_viewers(actor: Actor, what: str) -> None:
    """Raises Forbidden."""
    if actor.role is UserRole.VIEWER:
        raise Forbidden(
            f"{actor.user} is a viewer and may not {what}",
            code="viewers-only-look",
            mend="ask an admin for the role submitter",
        )

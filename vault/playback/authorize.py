"""Who may see what, as far as the catalog knows: every authorization check of playback stands in this file.

These checks keep honest clients apart and give clear answers. They are *not* what protects a recording: with each of
them answering yes, a session still opens nothing but what its own keys open (`vault.playback.opening`), and the
adversary tests run the product in just that way.
"""

from __future__ import annotations

from keys.session import SessionScope
from vault.catalog.rows import RecordingRow
from vault.playback.errors import NothingForYou
from vault.sessions.holder import Holder, TicketHolder


def require_list(holder: Holder) -> None:
    """Raises `ScopeMissing` unless the holder may list."""
    holder.require(SessionScope.LIST)


def require_play(holder: Holder) -> None:
    """Raises `ScopeMissing` unless the holder may play."""
    holder.require(SessionScope.PLAY)


def require_own(holder: Holder, row: RecordingRow) -> None:
    """Raises `NothingForYou` unless the row is the holder's patient's, and the ticket's where it is one."""
    if (row.tenant, row.patient) != (holder.tenant, holder.patient):
        raise NothingForYou("another patient's")
    if isinstance(holder, TicketHolder) and holder.ticket.recording_id != row.recording_id:
        raise NothingForYou("another recording's ticket")


def require_role(holder: Holder, role: str) -> None:
    """Raises `NothingForYou` when a ticket is narrowed to other files."""
    if isinstance(holder, TicketHolder) and holder.ticket.roles and role not in holder.ticket.roles:
        raise NothingForYou("the ticket is for other files")

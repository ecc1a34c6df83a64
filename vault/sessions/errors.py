"""What sessions raise, besides `keys.errors.InvalidToken`.

SessionsError
├── SessionEnded          revoked, expired or refused since it was admitted
├── ScopeMissing          the session or token may not do this
├── NotYours              the recording is another patient's or tenant's
├── TierConflict          the tier secrets are not as a rotation needs them
└── RecordsUnavailable    Redis does not answer: nothing can be admitted or checked
"""

from __future__ import annotations


class SessionsError(Exception):
    """Root of everything that `vault.sessions` raises."""


class SessionEnded(SessionsError):
    """The session or ticket was revoked, or its time is over."""


class ScopeMissing(SessionsError):
    """The session or token may not do this."""


class NotYours(SessionsError):
    """The recording is another patient's or tenant's; the caller is told that there is none."""


class TierConflict(SessionsError):
    """The tier secrets are not as a rotation over HTTP needs them; the message says why."""


class RecordsUnavailable(SessionsError):
    """The session store does not answer."""

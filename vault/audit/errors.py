"""What the audit log raises.

AuditError
├── AuditUnavailable   an entry could not be made durable: what it was to record must not happen
├── ChainBroken        a line is missing, altered or out of order
└── ProofRefused       a Merkle proof that does not show what it claims
"""

from __future__ import annotations


class AuditError(Exception):
    """Root of everything that the audit log raises."""


class AuditUnavailable(AuditError):
    """An entry could not be made durable; whatever it was to record must not happen."""


class ChainBroken(AuditError):
    """A line is missing, altered or out of order; the message says which."""


class ProofRefused(AuditError):
    """A Merkle proof that does not show what it claims."""

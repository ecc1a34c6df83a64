"""What erasing raises, besides `keys.errors.ErasureRefused` and `UnknownErasure`.

ErasureError
├── ForeignTombstone     a tombstone in the object store that this share store cannot read
├── StillThere           something of the patient is left, or opens: no certificate is made
└── CertificateRefused   a certificate that does not show what it claims
"""

from __future__ import annotations


class ErasureError(Exception):
    """Root of everything that erasing raises."""


class ForeignTombstone(ErasureError):
    """A tombstone that this share store cannot read: it is not the store that wrote it."""


class StillThere(ErasureError):
    """Something of an erased patient is left, or opens."""


class CertificateRefused(ErasureError):
    """A certificate that does not show what it claims; the message says which part."""

"""What the catalog raises.

CatalogError
├── UnknownRecording     no such recording (or not this tenant's)
├── ConsultationTaken    the consultation belongs to another patient, for ever
├── WrongState           the recording is not in a state that allows this
├── SourceStored         the recording has its source already
├── IdempotencyReused    the same idempotency key came with another request
├── LostClaim            the job belongs to another run by now
├── UnknownToken         no such service token
├── UnknownJob           no such key job
├── UnknownCompromise    no such declared leak
├── UnknownClass         the tenant has no such retention class
├── UnknownPatient       the tenant has no such patient
├── UnknownCursor        not a cursor of this list
└── UnknownSchema        the database's schema is not the one that this release knows
"""

from __future__ import annotations


class CatalogError(Exception):
    """Root of everything that the catalog raises."""


class UnknownRecording(CatalogError):
    """There is no such recording, or it is not this tenant's."""


class ConsultationTaken(CatalogError):
    """The consultation belongs to another patient; one consultation has one patient for ever."""


class WrongState(CatalogError):
    """The recording is not in a state that allows this."""


class SourceStored(CatalogError):
    """The recording has its source already; it is never replaced."""


class IdempotencyReused(CatalogError):
    """The idempotency key was used with another request."""


class LostClaim(CatalogError):
    """Another run holds the job by now; what this one made is discarded."""


class UnknownToken(CatalogError):
    """There is no such service token."""


class UnknownJob(CatalogError):
    """There is no such key job."""


class UnknownCompromise(CatalogError):
    """There is no such declared leak."""


class UnknownClass(CatalogError):
    """The tenant has no such retention class."""


class UnknownPatient(CatalogError):
    """The tenant has no such patient."""


class UnknownCursor(CatalogError):
    """Not a cursor of this list."""


class UnknownSchema(CatalogError):
    """The database's schema is not the one that this release knows."""

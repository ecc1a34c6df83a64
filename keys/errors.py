"""What the strongroom raises.

KeysError
├── MalformedId            a reference or id that is not of its form
├── Malformed              sealed bytes that are not of their form (length, version, reserved bits)
├── KeyMismatch            the key commitment differs: another key, or another context
├── Damaged                the key is right and the bytes are not authentic
├── InvalidToken           a bearer token that opens nothing
│   ├── Expired            its time is over, or has not come
│   └── WrongKind          a ticket where a session is due, or the reverse
├── NoSuchKey              the key that the bytes name is not at hand
├── PatientErased          the patient's erasure share is destroyed
├── ErasurePending         the patient is about to be erased, and takes in nothing new
├── ErasureRefused         an erasure that cannot be asked for, cancelled or approved as it stands
│   └── OnLegalHold        the patient's recordings have to be kept
├── UnknownErasure         no such erasure or legal hold
├── KeyConflict            another writer was first
├── DatabaseUnavailable    catalog or share store do not answer
├── MasterUnavailable      the KMS cannot be reached or refuses
├── NotRetirable           a version of a master key that cannot be taken out of use now
│   └── MasterRefused      it answers, and our token may not do this
└── MasterUnusable         a key file or passphrase cannot be used; the sentence says what to do
"""

from __future__ import annotations


class KeysError(Exception):
    """Root of everything that `keys` raises."""


class MalformedId(KeysError):
    """A reference or id that is not of its form."""


class Malformed(KeysError):
    """Sealed bytes of a wrong length, an unknown version or with a reserved bit set."""


class KeyMismatch(KeysError):
    """The commitment does not match: these bytes were sealed under another key or for another place."""


class Damaged(KeysError):
    """The key is right, but the bytes are not authentic."""


class InvalidToken(KeysError):
    """A bearer token that opens nothing."""


class Expired(InvalidToken):
    """A bearer token whose time is over, or lies ahead."""


class WrongKind(InvalidToken):
    """A ticket where a session is due, or the reverse."""


class NoSuchKey(KeysError):
    """The key that sealed bytes name is not at hand."""


class PatientErased(KeysError):
    """The patient's erasure share is gone, and with it every key of the patient."""


class ErasurePending(KeysError):
    """An erasure of the patient waits for its time: what would be taken in now would be lost."""


class ErasureRefused(KeysError):
    """An erasure that cannot be asked for, cancelled, approved or held as things stand; the message says why."""


class OnLegalHold(ErasureRefused):
    """Somebody has the duty to keep what this patient's recordings show: nothing of hers is destroyed."""


class UnknownErasure(KeysError):
    """There is no such erasure or legal hold."""


class KeyConflict(KeysError):
    """Another writer changed the same key first."""


class DatabaseUnavailable(KeysError):
    """The catalog or the share store does not answer."""


class MasterUnavailable(KeysError):
    """The key management service cannot be reached or refuses."""


class NotRetirable(KeysError):
    """A version of a master key that cannot be taken out of use, or destroyed, now; the message says why."""


class MasterRefused(MasterUnavailable):
    """The key management service answers, and our token may not do what was asked."""


class MasterUnusable(KeysError):
    """A master key file or passphrase that cannot be used; the message says what to do."""

"""What sealed objects and their stores raise. A wrong key or place is `keys.errors.KeyMismatch`, never one of these.

ObjectsError
├── MalformedObject        not a sealed object of a known version, or not a manifest of the known form
├── DamagedObject          the key is right and the bytes are not: altered, truncated, of another size
│   └── ObjectChanged      the object was replaced while it was being read
├── ObjectMissing          no object of that name
├── ObjectExists           an object of that name stands already; nothing is ever overwritten
├── TooLarge               more plaintext than the writer's limit
├── WrongChunk             a chunk out of turn: sealing it could use a nonce twice
├── StoreUnavailable       the store cannot be reached, or fails; trying again later may help
│   └── StoreRefused       the store answers and says no: credentials, bucket, permissions, unsupported requests
└── StoreMisconfigured     an address that cannot be used; the sentence says what to do
"""

from __future__ import annotations


class ObjectsError(Exception):
    """Root of everything that `vault.objects` raises, `keys.errors.KeyMismatch` apart."""


class MalformedObject(ObjectsError):
    """Bytes that are not a sealed object or manifest of a known version."""


class DamagedObject(ObjectsError):
    """The commitment matches, but a chunk or the size is not what was sealed."""


class ObjectChanged(DamagedObject):
    """The object is not the one that was opened: it was replaced meanwhile."""


class ObjectMissing(ObjectsError):
    """No object of that name."""


class ObjectExists(ObjectsError):
    """An object of that name stands already."""


class TooLarge(ObjectsError):
    """More plaintext than the writer was allowed to seal."""


class WrongChunk(ObjectsError):
    """A chunk offered out of turn, twice, after the last one, or of the wrong length."""


class StoreUnavailable(ObjectsError):
    """The object store cannot be reached or fails; the caller may try again later."""


class StoreRefused(StoreUnavailable):
    """The object store answers and refuses: an operator has to act."""


class StoreMisconfigured(ObjectsError):
    """An object store address that cannot be used; the message says what to do."""

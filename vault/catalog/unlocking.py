"""A recording's row and its key, of one moment: a recording that is encrypted anew in between is looked at again.

Invariant: a key that does not match is told from a key that was replaced; only the former is `KeyMismatch`.
"""

from __future__ import annotations

from keys.errors import KeyMismatch
from keys.secret import RecordingKey
from keys.strongroom import OpenedPatient, Strongroom
from vault.catalog import recordings
from vault.catalog.rows import RecordingRow


async def unlock(
    strongroom: Strongroom, row: RecordingRow
) -> tuple[RecordingRow, OpenedPatient, RecordingKey]:
    """The row as it stands, its patient's keys, and its own.

    Raises as `Strongroom.open_recording` does, or `UnknownRecording` where it was deleted meanwhile.
    """
    while True:
        try:
            opened, key = await strongroom.open_recording(
                row.tenant, row.patient, row.recording_id, row.key_id
            )
        except KeyMismatch:
            before = row
            async with strongroom.catalog.reading() as connection:
                row = await recordings.by_id(connection, row.recording_id)
            if row.key_id == before.key_id:
                raise
        else:
            return row, opened, key

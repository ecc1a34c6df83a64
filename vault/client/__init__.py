"""The client of Replay Vault for backends, and for the command line.

    async with ReplayVault("https://replay.example.org", Token.from_file(Path("/run/secrets/replayvault"))) as vault:
        stored = await vault.store(
            Path("consultation.webm"), patient="p-17", consultation="c-4711", metadata=Metadata(title="Follow-up")
        )
        async for status in vault.watch(stored.id):
            print(status.state, status.progress)
        opened = await vault.open_session("p-17")
    # `opened.token.reveal(to="the patient's app")` goes to the app; the app, or this process in its place:
    async with PatientSession("https://replay.example.org", opened.token) as ann:
        async for view in ann.recordings():
            await ann.download(view.id, "replay.mp4", FileSink(Path("replay.mp4")))

Invariants: nothing here imports the rest of the house, so that it can be used and shipped apart; no error, repr or
log holds a token; what is not safe to repeat is never repeated.
"""

from __future__ import annotations

from vault.client.backend import ReplayVault
from vault.client.backoff import Backoff
from vault.client.documents import (
    Metadata,
    OpenedSession,
    RecordingStatus,
    RecordingView,
    SessionScope,
    SessionView,
    State,
    Ticket,
)
from vault.client.errors import ReplayVaultError
from vault.client.key_documents import (
    JobState,
    KeyJob,
    KeysCensus,
    KeysDue,
    KeysStatus,
    LeakPlan,
    TierStanding,
)
from vault.client.keys import Keys
from vault.client.patient import PatientSession
from vault.client.sinks import FileSink, Sink, WriterSink
from vault.client.token import Token

__all__ = [
    "Backoff",
    "FileSink",
    "JobState",
    "KeyJob",
    "Keys",
    "KeysCensus",
    "KeysDue",
    "KeysStatus",
    "LeakPlan",
    "Metadata",
    "OpenedSession",
    "PatientSession",
    "RecordingStatus",
    "RecordingView",
    "ReplayVault",
    "ReplayVaultError",
    "SessionScope",
    "SessionView",
    "Sink",
    "State",
    "Ticket",
    "TierStanding",
    "Token",
    "WriterSink",
]

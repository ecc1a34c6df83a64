"""The acts of the demonstration, each of which checks what it shows.

Invariant: whatever is not as it should be is remembered in `Story.wrong`, and ends the demonstration with an error.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from keys.database import open_database
from keys.ids import TenantId
from keys.service_token import ServiceScope, hash_service_token, new_service_token
from vault.app.desk import close_breaker, read_breaker
from vault.app.serving import Served
from vault.audit.reading import tail
from vault.catalog import service_tokens
from vault.catalog.service_tokens import ServiceTokenRow
from vault.demo.films import make_film
from vault.demo.unchecked import CHECKS, no_authorization
from vault.demo.visit import Visitor
from vault.settings import AllSettings

TENANT: Final = TenantId("demo-clinic")
FILES: Final = ("master.m3u8", "360p.m3u8", "360p.mp4", "audio.mp4", "replay.mp4", "poster.jpg", "thumbs.vtt")


@dataclass(frozen=True, slots=True)
class Consultation:
    """One recording of the demonstration."""

    patient: str
    title: str
    clinician: str
    pitch_hz: int


CONSULTATIONS: Final = (
    Consultation("patient-a", "Knee, six weeks after surgery", "Dr Adeyemi", 118),
    Consultation("patient-b", "Anxiety: how the new dose works", "Dr Brandt", 196),
    Consultation("patient-b", "Test results, and what follows", "Dr Brandt", 172),
)


@dataclass(slots=True)
class Story:
    """What happened so far, and what was not as it should be."""

    console: Console
    settings: AllSettings
    served: Served
    url: str
    http: aiohttp.ClientSession
    wrong: list[str] = field(default_factory=list)
    recordings: dict[str, list[str]] = field(default_factory=dict)
    sessions: dict[str, Visitor] = field(default_factory=dict)

    def expect(self, condition: object, otherwise: str) -> None:
        """Remember `otherwise` unless the condition holds."""
        if not condition:
            self.wrong.append(otherwise)

    async def hire_a_backend(self) -> Visitor:
        """A service token for the clinic's backend, as `replayvault tokens create` would make it."""
        token = new_service_token()
        row = ServiceTokenRow(
            token_id=uuid.uuid4(),
            tenant=TENANT,
            name="demo",
            scopes=frozenset({ServiceScope.INGEST, ServiceScope.SESSIONS, ServiceScope.TICKETS}),
            created_at=dt.datetime.now(tz=dt.UTC),
            expires_at=None,
            revoked_at=None,
        )
        catalog = open_database(self.settings.catalog)
        async with catalog.writing() as connection:
            await service_tokens.add(connection, row, hash_service_token(token))
        await catalog.aclose()
        return Visitor(self.http, token)

    async def store_everything(self, backend: Visitor, ffmpeg: Path, film: bytes | None) -> None:
        """Make, upload and transcode each consultation, with a bar for each step."""
        columns = (TextColumn("{task.description:<46}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
        with Progress(*columns, TimeElapsedColumn(), console=self.console) as bars:
            for each in CONSULTATIONS:
                source = film or await self._film(ffmpeg, each, bars)
                await self._store(backend, each, source, bars)

    async def _film(self, ffmpeg: Path, each: Consultation, bars: Progress) -> bytes:
        bar = bars.add_task(f"{each.patient}: filming", total=1.0)
        film = await make_film(
            ffmpeg, pitch_hz=each.pitch_hz, on_progress=lambda done: bars.update(bar, completed=done)
        )
        bars.update(bar, completed=1.0)
        return film

    async def _store(self, backend: Visitor, each: Consultation, source: bytes, bars: Progress) -> None:
        status = await backend.document("POST", "/v1/recordings", _announcement(each))
        bar = bars.add_task(f"{each.patient}: sealing {len(source) / 1e6:.1f} MB as it arrives", total=1.0)
        await backend.upload(status["source_url"], source, lambda done: bars.update(bar, completed=done))
        bar = bars.add_task(f"{each.patient}: transcoding in the sandbox", total=1.0)
        async for event in backend.events(f"/v1/recordings/{status['id']}/events"):
            status = event
            bars.update(bar, completed=event["progress"] or 0.0)
        self._finished(bars, bar, status)
        self.recordings.setdefault(each.patient, []).append(status["id"])

    def _finished(self, bars: Progress, bar: TaskID, status: dict[str, Any]) -> None:
        bars.update(bar, completed=1.0)
        self.expect(
            status["state"] == "published", f"a recording was not published: {status['failure_detail']}"
        )

    async def open_sessions(self, backend: Visitor) -> None:
        """A session for each patient, as the backend opens it after signing the patient in."""
        for patient in sorted(self.recordings):
            opened = await backend.document("POST", "/v1/sessions", {"patient": patient, "ttl_s": 4 * 3600})
            self.sessions[patient] = Visitor(self.http, opened["token"])

    async def play_ones_own(self) -> None:
        """Each patient sees and plays what is theirs."""
        for patient, visitor in self.sessions.items():
            page = await visitor.document("GET", "/v1/recordings")
            titles = [entry["title"] for entry in page["recordings"]]
            self.console.print(f"  {patient} lists: {', '.join(titles)}")
            mine = [each.title for each in CONSULTATIONS if each.patient == patient]
            self.expect(sorted(titles) == sorted(mine), f"{patient} does not see exactly the own recordings")
            for recording in self.recordings[patient]:
                status, body = await visitor.status("GET", f"/v1/recordings/{recording}/replay.mp4")
                self.expect(status == 200 and body[4:8] == b"ftyp", f"{patient} cannot play an own recording")  # noqa: PLR2004

    async def misroute(self) -> None:
        """With no check left, patient A asks for everything of patient B."""
        before = self._mismatches()
        with no_authorization():
            self.console.print(f"  replaced by 'yes': {', '.join(CHECKS)}, and the list's WHERE clause")
            await self._ask_for_the_list()
            table = await self._ask_for_files()
        self.console.print(table)
        self.expect(self._mismatches() > before, "the misroute was not counted")
        self.console.print(
            f"  replayvault_key_mismatch_total: {before:.0f} → [bold red]{self._mismatches():.0f}[/]"
        )

    async def _ask_for_the_list(self) -> None:
        status, body = await self.sessions["patient-a"].status("GET", "/v1/recordings")
        leaked = [
            each.title
            for each in CONSULTATIONS
            if each.patient == "patient-b" and each.title.encode() in body
        ]
        self.expect(status == 200 and not leaked, "a title of patient B was listed for patient A")  # noqa: PLR2004
        everybody = sum(len(each) for each in self.recordings.values())
        mine = body.count(b'"title"')
        self.expect(mine == len(self.recordings["patient-a"]), "patient A's list is not exactly the own one")
        self.console.print(f"  the query returned {everybody} rows; {mine} opened with patient A's key")

    async def _ask_for_files(self) -> Table:
        table = Table("patient A asks for patient B's", "answer", "bytes of media", box=None, pad_edge=True)
        visitor = self.sessions["patient-a"]
        for recording in self.recordings["patient-b"]:
            for name in FILES:
                path = f"/v1/recordings/{recording}/{name}"
                status, body = await visitor.status("GET", path, Range="bytes=0-65535")
                nothing = status == 404 and b"not-found" in body  # noqa: PLR2004
                self.expect(nothing, f"{name} of patient B was answered with {status}")
                table.add_row(f"{recording[:8]}…/{name}", str(status), "0" if nothing else f"{len(body)}")
        return table

    async def lists_stop(self) -> None:
        """So many mismatches opened the listing breaker; playing goes on, and an operator lets lists go on."""
        status, _ = await self.sessions["patient-b"].status("GET", "/v1/recordings")
        mine = self.recordings["patient-b"][0]
        plays, _ = await self.sessions["patient-b"].status("GET", f"/v1/recordings/{mine}/master.m3u8")
        self.console.print(f"  every list is answered with {status} now; playing one's own with {plays}")
        self.expect((status, plays) == (503, 200), "lists go on, or playing does not, after the misroute")
        record = await read_breaker(self.settings)
        if record is not None:
            self.console.print("  replayvault breaker close --reason 'the checks are back'")
            reason = "the checks are back"
            await close_breaker(self.settings, record.opening, reason=reason, warn=self.console.print)
        status, _ = await self.sessions["patient-b"].status("GET", "/v1/recordings")
        self.expect(status == 200, "lists are still stopped")  # noqa: PLR2004

    async def show_the_audit(self, count: int) -> None:
        """The last lines of the log, chain checked."""
        entries = await asyncio.to_thread(tail, self.settings.audit_folder, limit=count)
        table = Table("time", "action", "decision", "reason", "recording", "patient (pseudonym)", box=None)
        for entry in entries:
            table.add_row(
                entry["at"][11:23],
                entry["action"],
                entry["decision"],
                f"[red]{entry['reason']}[/]",
                entry["recording"][:8],
                entry["patient"][:12],
            )
        self.console.print(table)
        self.expect(
            any(each["reason"] == "KEY_MISMATCH" for each in entries), "the misroute is not in the audit log"
        )

    async def show_an_object(self) -> None:
        """The first bytes of what is stored, and a search for what must not be there."""
        objects = await asyncio.to_thread(_read_objects, self.settings.data_dir / "objects")
        name, data = max(objects.items(), key=lambda item: len(item[1]))
        self.console.print(f"  {name} ({len(data)} bytes), one of {len(objects)} objects")
        self.console.print(hex_dump(data[:160]), highlight=False, markup=False)
        words = [each.title.encode() for each in CONSULTATIONS]
        words += [each.clinician.encode() for each in CONSULTATIONS] + [
            b"patient-",
            b"ftyp",
            b"moof",
            b"\x1aE\xdf\xa3",
        ]
        found = [word for word in words[:-4] for data in objects.values() if word in data]
        found += [word for word in words[-4:] for data in objects.values() if word in data[:4096]]
        self.expect(not found, "plaintext was found in the object store")

    def _mismatches(self) -> float:
        return sum(
            sample.value
            for family in self.served.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "replayvault_key_mismatch_total"
        )


def _announcement(each: Consultation) -> dict[str, Any]:
    return {
        "patient": each.patient,
        "consultation": f"consultation-{uuid.uuid4()}",
        "metadata": {
            "title": each.title,
            "clinician": each.clinician,
            "consulted_at": dt.datetime.now(tz=dt.UTC).isoformat(),
        },
    }


def _read_objects(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def hex_dump(data: bytes) -> str:
    """Sixteen bytes a line: offset, hexadecimal, printable characters."""
    return "\n".join(_line(at, data[at : at + 16]) for at in range(0, len(data), 16))


def _line(at: int, row: Sequence[int]) -> str:
    shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)  # noqa: PLR2004 - printable ASCII
    return f"  {at:08x}  {' '.join(f'{byte:02x}' for byte in row):<47}  {shown}"

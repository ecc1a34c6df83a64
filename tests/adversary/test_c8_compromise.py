"""C8: after the answer to a leak, old dumps of everything and the bucket of today open nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from keys import recording_wraps
from keys.database import open_database
from keys.errors import KeyMismatch, KeysError
from keys.ids import PatientRef, RecordingId, TenantId
from keys.master.local import load_master_file
from keys.opening import open_recording_key
from keys.secret import RecordingKey
from keys.session import GrantedKey
from keys.shares import ShareStore
from keys.strongroom import Strongroom
from tests.adversary.conftest import EMBEDDED_ALONE, Scene
from tests.adversary.evidence import assert_constant
from tests.adversary.press import SIZES, Pressed
from tests.rotation.asking import ended
from vault.app.ground import utc_now
from vault.audit.log import AuditLog
from vault.catalog import compromises, renewals
from vault.catalog.compromises import Compromise, CompromiseId, Leak
from vault.catalog.key_job_states import JobState
from vault.catalog.renewals import Extent
from vault.objects.access import RecordingAccess
from vault.objects.container import HEADER_BYTES, Header
from vault.objects.errors import DamagedObject, MalformedObject
from vault.objects.sealed import SealedReader
from vault.objects.store import ObjectName, ObjectStore
from vault.rotation.answering import Answering, standings

CLINIC = TenantId("clinic")
ROLES = (*SIZES, "original", "manifest")


@dataclass(frozen=True)
class Dump:
    """Catalog, share store and master key as they stood, and optionally the catalog of another day."""

    folder: Path
    catalog: str = "catalog.sqlite"

    @asynccontextmanager
    async def strongroom(self) -> AsyncIterator[Strongroom]:
        """All three put together, as the control role would."""
        catalog, shares = [
            await asyncio.to_thread(open_database, f"sqlite+aiosqlite:///{self.folder / name}")
            for name in (self.catalog, "shares.sqlite")
        ]
        master = await asyncio.to_thread(load_master_file, self.folder / "master.key")
        yield Strongroom(catalog, master, ShareStore(shares))
        await catalog.aclose()
        await shares.aclose()

    async def patient_keys(self) -> list[tuple[PatientRef, GrantedKey]]:
        """Every patient key that the three open."""
        found = []
        async with self.strongroom() as strongroom:
            for name in ("patient-a", "patient-b"):
                try:
                    opened = await strongroom.open(CLINIC, PatientRef(name))
                except KeysError:
                    continue
                found += [(opened.patient, key) for key in opened.carried]
        return found

    async def recording_keys(self, patient_keys: list[tuple[PatientRef, GrantedKey]]) -> list[RecordingKey]:
        """What these patient keys make of every wrap in the dump, under the key id of its row."""
        found = []
        async with self.strongroom() as strongroom, strongroom.catalog.reading() as connection:
            rows = await renewals.due(connection, Extent(), requested_at=utc_now(), after=None, limit=1000)
            wraps = await recording_wraps.wraps_of(connection, [row.recording_id for row in rows])
        for row in rows:
            for patient, key in patient_keys:
                for wrap in wraps[row.recording_id]:
                    named = dataclasses.replace(wrap, patient_key_id=key.key_id)
                    try:
                        found.append(
                            open_recording_key(
                                [named],
                                [key],
                                tenant=CLINIC,
                                patient=patient,
                                recording_id=row.recording_id,
                                recording_key_id=row.key_id,
                            )
                        )
                    except KeyMismatch:
                        continue
        return found


def dumped(settings: Any, folder: Path) -> Dump:
    """A dump of now."""
    folder.mkdir()
    shutil.copy(settings.master_file, folder / "master.key")
    for name in ("catalog.sqlite", "shares.sqlite"):
        back_up(settings.data_dir / name, folder / name)
    return Dump(folder)


def back_up(source: Path, target: Path) -> None:
    """What `sqlite3 .backup` does."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


async def opened_by(keys: list[RecordingKey], store: ObjectStore, owners: dict[RecordingId, str]) -> set[str]:
    """Every object of the store that any of these keys opens in any role, its header's key id believed."""
    found = set()
    async for info in store.list():
        start = await store.read(info.name, first_byte=0, last_byte=HEADER_BYTES - 1)
        key_id = Header.parse(bytes(start.data)).key_id
        for key in keys:
            access = RecordingAccess(
                tenant=CLINIC,
                patient=PatientRef(owners[info.name.recording_id]),
                recording_id=info.name.recording_id,
                key_id=key_id,
                key=key,
            )
            for role in ROLES:
                if await _opens(store, info.name, access, role):
                    found.add(str(info.name))
    return found


async def _opens(store: ObjectStore, name: ObjectName, access: RecordingAccess, role: str) -> bool:
    try:
        await SealedReader.from_store(store, name, access=access, role=role)
    except (KeyMismatch, DamagedObject, MalformedObject):
        return False
    return True


async def answer(scene: Scene, declared: Compromise, folder: Path) -> None:
    """What `keys compromise run` does."""
    catalog = scene.press.catalog
    audit = await AuditLog.open(folder, role="operator", release="test", clock=utc_now)
    async with catalog.writing() as connection:
        await compromises.declare(connection, declared)
    answering = Answering(catalog, audit, utc_now, "operator:test")
    while (standing := await answering.begin_next(declared)) is not None:
        if standing.job is not None:
            assert (await ended(catalog, standing.job.job_id)).state is JobState.DONE
    assert all(each.is_done or each.step.is_by_hand for each in await standings(catalog, declared))
    await audit.aclose()


async def names_of(scene: Scene, films: list[Pressed]) -> set[str]:
    mine = {film.recording_id for film in films}
    return {str(info.name) async for info in scene.press.store.list() if info.name.recording_id in mine}


@EMBEDDED_ALONE
@pytest.mark.parametrize("leak", [Leak.PATIENT, Leak.VAULT, Leak.RECORDING], ids=lambda each: each.value)
async def test_c8_old_dumps_and_the_bucket_of_today(scene: Scene, tmp_path: Path, leak: Leak) -> None:
    press, settings = scene.press, scene.world.settings
    films = [
        await press.publish(scene.clinic, "patient-a") for _ in range(1 if leak is Leak.RECORDING else 2)
    ]
    others = [await press.publish(scene.clinic, "patient-b")]
    owners = {film.recording_id: "patient-a" for film in films} | {others[0].recording_id: "patient-b"}
    old = await asyncio.to_thread(dumped, settings, tmp_path / "old")
    stolen = await old.recording_keys(await old.patient_keys())
    assert await opened_by(stolen, press.store, owners) == await names_of(scene, films + others)
    declared = Compromise(
        compromise_id=CompromiseId(uuid4()),
        leak=leak,
        reason="a test",
        declared_by="operator",
        declared_at=utc_now(),
        tenant=CLINIC if leak is Leak.PATIENT else None,
        patient=PatientRef("patient-a") if leak is Leak.PATIENT else None,
        recording_id=films[0].recording_id if leak is Leak.RECORDING else None,
    )
    await answer(scene, declared, tmp_path / "operator")
    spared = set() if leak is Leak.VAULT else await names_of(scene, others)
    assert await opened_by(stolen, press.store, owners) == spared
    if leak is not Leak.RECORDING:
        await _today_s_catalog_does_not_help(scene, old, owners, spared, leak)
        assert_constant(await scene.a.get("/v1/recordings"), status=401)
    ann, ben = await scene.clinic.sign_in("patient-a"), await scene.clinic.sign_in("patient-b")
    for film, app in [*((film, ann) for film in films), (others[0], ben)]:
        for role in ("360p.mp4", "audio.mp4", "poster.jpg"):
            assert (await app.get(f"{film.url}/{role}")).body == film.plain(role)
        assert (await app.get(f"{film.url}/master.m3u8")).status == 200
    assert len((await ann.json("/v1/recordings"))["recordings"]) == len(films)
    assert scene.world.metric("replayvault_key_mismatch_total") == 0


async def _today_s_catalog_does_not_help(
    scene: Scene, old: Dump, owners: dict[RecordingId, str], spared: set[str], leak: Leak
) -> None:
    """The old patient keys on today's wraps; where everything leaked, the old master key on today's halves, too."""
    await asyncio.to_thread(
        back_up, scene.world.settings.data_dir / "catalog.sqlite", old.folder / "today.sqlite"
    )
    today = dataclasses.replace(old, catalog="today.sqlite")
    keys = await today.recording_keys(await old.patient_keys())
    if leak is Leak.VAULT:
        assert await today.patient_keys() == []
    assert await opened_by(keys, scene.press.store, owners) == spared

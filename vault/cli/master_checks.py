"""What `doctor` asks the keepers of the master key: whether they work, and whether a token may do too much.

Invariants: what is wrapped is a random probe; of patient keys one half under each version is opened, and dropped;
nothing is made or changed; what the tokens may not show is said to be unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from keys import contexts, halves
from keys.database import Database
from keys.errors import DatabaseUnavailable, KeysError, MasterRefused, MasterUnavailable, MasterUnusable
from keys.keyring import PatientKeyRow
from keys.master.inspection import Inspected, KeySettings, RetirerRights, RotatorRights, inspect
from keys.master.openbao import OpenBaoMaster
from keys.master.protocol import Master
from keys.master.several import Masters
from keys.secret import MasterHalf
from vault.app.databases import opened
from vault.app.master import open_keepers, uses_local_master
from vault.catalog.errors import UnknownSchema
from vault.catalog.migrate import Schema
from vault.cli.findings import Finding, Verdict, down, note, ok, wrong
from vault.cli.local_checks import key_file_finding
from vault.settings import ControlSettings, SettingsError

_POLICIES: Final = (
    "write the policies of this release anew: control.hcl, rotator.hcl and retirer.hcl in docker/openbao"
)
_TIMEOUT_S: Final = 15.0
_NAMES: Final = ("keeper of the master key", "former keeper")


async def master_findings(settings: ControlSettings) -> list[Finding]:
    """Ask each keeper; nothing where a key file is not as it should be, which has its own finding."""
    if not await asyncio.to_thread(_key_file_is_well, settings):
        return []
    try:
        keepers = await asyncio.to_thread(open_keepers, settings)
    except (MasterUnusable, SettingsError, OSError, UnicodeDecodeError) as error:
        says = (
            str(error) if isinstance(error, MasterUnusable | SettingsError) else "a key file cannot be read"
        )
        return [wrong(_NAMES[0], says, "the control role would not start")]
    found = [
        finding
        for name, keeper in zip(_NAMES, keepers, strict=False)
        for finding in await keeper_findings(name, keeper)
    ]
    return [*found, *await patient_key_findings(settings.catalog, keepers)]


async def patient_key_findings(url: str, keepers: Sequence[Master]) -> list[Finding]:
    """Whether a patient key under each version opens: with the key file of another backup none would.

    Nothing where the catalog at `url` or a keeper does not answer, which has its own finding.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S), opened(url, Schema.CATALOG) as catalog:
            return [await _opening(catalog, Masters(keepers[0], tuple(keepers[1:])))]
    except (SettingsError, DatabaseUnavailable, UnknownSchema, MasterUnavailable, TimeoutError):
        return []


async def _opening(catalog: Database, master: Master) -> Finding:
    async with catalog.reading() as connection:
        places = [each.place for each in await halves.census(connection)]
        rows = [await halves.one_under(connection, place) for place in places]
    name, closed = "patient keys", []
    for place, row in zip(places, rows, strict=True):
        if row is not None and not await _opens(row, master):
            closed.append(f"{place.provider} {place.key_name} version {place.key_version}")
    if closed:
        todo = "name the keeper that has these versions as the former one, or restore its key file"
        return wrong(name, f"do not open under {', '.join(closed)}", todo)
    return ok(name, f"open under each of {len(places)} versions of the master key")


async def _opens(row: PatientKeyRow, master: Master) -> bool:
    context = contexts.patient_key_context(
        tenant=row.tenant, patient=row.patient, key_id=row.key_id, generation=row.generation
    )
    try:
        await master.unwrap(row.wrap, context=context)
    except MasterUnavailable:
        raise
    except KeysError:
        return False
    return True


async def keeper_findings(name: str, keeper: Master) -> list[Finding]:
    """Whether one keeper wraps and opens a probe, and what its tokens may do."""
    try:
        half = MasterHalf.generate()
        await keeper.unwrap(await keeper.wrap(half, context=b"probe"), context=b"probe")
        version = await keeper.current_version()
        found = await inspect(keeper) if isinstance(keeper, OpenBaoMaster) else None
    except MasterRefused:
        return [wrong(name, "answers, and refuses a token of ours", f"renew the token, and {_POLICIES}")]
    except MasterUnavailable as error:
        return [down(name, str(error), "start or unseal it, or correct its address and token files")]
    except KeysError as error:
        return [wrong(name, str(error), "name the keeper and key that wrapped the patient keys")]
    well = ok(name, f"wraps and opens a probe with {keeper.key_name}, version {version}")
    return [well, *(() if found is None else transit_findings(found))]


def transit_findings(found: Inspected) -> Iterator[Finding]:
    """What was learned of a transit key and of the tokens that reach it."""
    yield from _key_findings(found.key)
    if found.upserts_are_off is None:
        yield note("upserts", "our tokens may not see whether they are off", _POLICIES)
    elif found.upserts_are_off:
        yield ok("upserts", "are off: a mistyped name makes no new key")
    else:
        todo = "bao write transit/config/keys disable_upsert=true"
        yield wrong("upserts", "are on: wrapping under a mistyped or deleted name makes a new key", todo)
    yield _token_finding("rights of the master token", found.control_may)
    yield from _rotator_findings(found.rotator)
    if found.retirer is not None:
        yield from _retirer_findings(found.retirer)


def _rotator_findings(found: RotatorRights | None) -> Iterator[Finding]:
    if found is None:
        says = "the master token rotates as well: who takes it may open wraps and make versions"
        yield note("rotator", says, "give rotation a token of its own: REPLAYVAULT_ROTATOR_TOKEN_FILE")
        return
    if found.opens:
        yield wrong("rotator", "its token opens wraps, and must only rewrap them", _POLICIES)
    else:
        yield ok("rotator", "its token opens nothing")
    yield _token_finding("rights of the rotator token", found.may)


def _retirer_findings(found: RetirerRights) -> Iterator[Finding]:
    if found.retires is False:
        yield wrong("retirer", "its token may not take versions out of use, or not destroy them", _POLICIES)
    elif found.retires:
        yield ok("retirer", "its token may take versions out of use, and destroy them")
    yield _token_finding("rights of the retirer token", found.may)


def _key_findings(key: KeySettings | None) -> Iterator[Finding]:
    name = "transit key"
    if key is None:
        yield note(name, "our tokens may not see how it was made", _POLICIES)
        return
    anew = "make a new key as docs/operators.md says, and move to it: docs/operations.md"
    if not key.is_derived:
        yield wrong(name, "is not derived: a wrap opens for any patient", anew)
    if key.may_leave:
        yield wrong(name, "can be exported, or backed up in the clear", anew)
    if key.may_be_deleted:
        yield wrong(name, "can be deleted", "bao write transit/keys/KEY/config deletion_allowed=false")
    if key.is_derived and not key.may_leave and not key.may_be_deleted:
        yield ok(name, "is derived, and can be neither exported nor deleted")


def _token_finding(name: str, too_much: tuple[str, ...] | None) -> Finding:
    if too_much is None:
        return note(name, "cannot be seen: its policy lacks sys/capabilities-self", _POLICIES)
    if too_much:
        return wrong(name, f"are too many, it may also: {', '.join(too_much)}", _POLICIES)
    return ok(name, "are what it needs, and no more")


def _key_file_is_well(settings: ControlSettings) -> bool:
    """Whether what a local key needs is there: what is missing or open to others has its own finding."""
    files = [settings.master_file] if uses_local_master(settings) else []
    files += [settings.master_passphrase_file] if settings.master_passphrase_file is not None else []
    return all(key_file_finding("", each, named=True).verdict is Verdict.OK for each in files)

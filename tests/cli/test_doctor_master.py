"""What `doctor` says of the keeper of the master key: a real OpenBao, with the shipped policies and too wide ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keys.errors import MasterRefused
from keys.keyfile import create_private_file
from keys.master.local import create_master_file
from keys.master.openbao import OpenBaoMaster, Transit
from tests.cli.conftest import Desk
from tests.cli.test_doctor import copy, findings, troubles
from tests.servers import BaoServer
from tests.servers.child import free_port
from vault.cli.exits import Exit
from vault.cli.findings import Verdict
from vault.cli.master_checks import keeper_findings

__all__ = ["copy"]

SHIPPED = Path(__file__).parents[2] / "docker" / "openbao"
TOO_WIDE = """
path "transit/*" { capabilities = ["create", "read", "update", "delete"] }
path "sys/capabilities-self" { capabilities = ["update"] }
"""
OPENS_TOO = """
path "transit/decrypt/KEY" { capabilities = ["update"] }
"""
SAYS_NOTHING = """
path "transit/encrypt/KEY" { capabilities = ["update"] }
path "transit/decrypt/KEY" { capabilities = ["update"] }
path "transit/keys/KEY" { capabilities = ["read"] }
"""


@dataclass(frozen=True, slots=True)
class Keeper:
    """A transit key, and tokens under policies."""

    bao: BaoServer
    folder: Path
    key: str

    def token(self, policy: str, name: str) -> Path:
        """A file with a token under this policy, in which KEY is the key."""
        rules = self.folder / f"{name}.hcl"
        rules.write_text(policy.replace("KEY", self.key).replace("replayvault", self.key), encoding="utf-8")
        file = self.folder / f"{name}.token"
        create_private_file(file, self.bao.token_for(rules, name=f"{self.key}-{name}").encode())
        return file

    def master(self, control: str, rotator: str | None, retirer: str | None = None) -> OpenBaoMaster:
        """A keeper that is reached with tokens under these policies."""
        return OpenBaoMaster(
            Transit(
                address=self.bao.url,
                mount="transit",
                key=self.key,
                token_file=self.token(control, "control"),
                rotator_token_file=None if rotator is None else self.token(rotator, "rotator"),
                retirer_token_file=None if retirer is None else self.token(retirer, "retirer"),
            )
        )


@pytest.fixture
def keeper(bao: BaoServer, tmp_path: Path) -> Keeper:
    """A key of this test's own."""
    return Keeper(bao, tmp_path, bao.transit_key(f"d-{tmp_path.name.lower().replace('_', '-')[-30:]}"))


def shipped(name: str) -> str:
    return (SHIPPED / f"{name}.hcl").read_text(encoding="utf-8")


async def verdicts(master: OpenBaoMaster) -> dict[str, Verdict]:
    return {each.name: each.verdict for each in await keeper_findings("keeper", master)}


async def test_the_shipped_policies_are_well(keeper: Keeper) -> None:
    found = await verdicts(keeper.master(shipped("control"), shipped("rotator")))
    assert found == dict.fromkeys(
        (
            "keeper",
            "transit key",
            "upserts",
            "rights of the master token",
            "rotator",
            "rights of the rotator token",
        ),
        Verdict.OK,
    )


async def test_a_retirer_may_do_what_it_is_for_and_no_more(keeper: Keeper) -> None:
    async def said(policy: str) -> dict[str, tuple[Verdict, str]]:
        master = keeper.master(shipped("control"), shipped("rotator"), policy)
        found = await keeper_findings("keeper", master)
        return {each.name: (each.verdict, each.says) for each in found if "retirer" in each.name}

    before = keeper.bao.root.secrets.transit.read_key(keeper.key)["data"]
    well = await said(shipped("retirer"))
    assert {name: verdict for name, (verdict, _) in well.items()} == {
        "retirer": Verdict.OK,
        "rights of the retirer token": Verdict.OK,
    }
    trims = 'path "transit/keys/KEY/trim" { capabilities = ["update"] }\n'
    asks = 'path "sys/capabilities-self" { capabilities = ["update"] }\n'
    settings = 'path "transit/keys/KEY/config" { capabilities = ["update"] }\n'
    loose = await said(trims + asks + settings + OPENS_TOO)
    verdict, says = loose["rights of the retirer token"]
    assert (loose["retirer"][0], verdict) == (Verdict.OK, Verdict.WRONG)
    assert "change the key's settings" in says
    assert "open wraps" in says
    assert (await said(trims + asks))["retirer"][0] is Verdict.WRONG
    silent = await said(trims + settings)
    assert {name: verdict for name, (verdict, _) in silent.items()} == {
        "rights of the retirer token": Verdict.NOTE
    }
    # The questions changed nothing.
    assert keeper.bao.root.secrets.transit.read_key(keeper.key)["data"] == before


async def test_a_rotator_that_opens_is_wrong(keeper: Keeper) -> None:
    found = await verdicts(keeper.master(shipped("control"), shipped("rotator") + OPENS_TOO))
    assert {name for name, verdict in found.items() if verdict is not Verdict.OK} == {"rotator"}
    assert found["rotator"] is Verdict.WRONG


async def test_tokens_that_may_do_everything_are_wrong(keeper: Keeper) -> None:
    found = await keeper_findings("keeper", keeper.master(TOO_WIDE, TOO_WIDE))
    wrong = {each.name: each.says for each in found if each.verdict is Verdict.WRONG}
    assert set(wrong) == {"rights of the master token", "rotator", "rights of the rotator token"}
    for word in ("delete or make the key", "export the key", "make versions", "rewrap"):
        assert word in wrong["rights of the master token"]
    assert "wrap," in wrong["rights of the rotator token"] + ","


async def test_a_root_token_for_everything_is_wrong(keeper: Keeper) -> None:
    file = keeper.folder / "root.token"
    create_private_file(file, keeper.bao.root_token.encode())
    master = OpenBaoMaster(Transit(address=keeper.bao.url, mount="transit", key=keeper.key, token_file=file))
    found = await verdicts(master)
    assert (found["rights of the master token"], found["rotator"]) == (Verdict.WRONG, Verdict.NOTE)


async def test_what_tokens_may_not_show_is_unknown_and_not_well(keeper: Keeper) -> None:
    found = await verdicts(keeper.master(SAYS_NOTHING, SAYS_NOTHING))
    assert found["keeper"] is Verdict.OK
    for name in ("upserts", "rights of the master token", "rights of the rotator token"):
        assert found[name] is Verdict.NOTE


async def test_upserts_and_a_key_that_is_not_derived_or_may_leave_are_wrong(keeper: Keeper) -> None:
    root = keeper.bao.root
    root.write_data("transit/config/keys", data={"disable_upsert": False})
    try:
        found = await verdicts(keeper.master(shipped("control"), shipped("rotator")))
    finally:
        root.write_data("transit/config/keys", data={"disable_upsert": True})
    assert {name for name, verdict in found.items() if verdict is Verdict.WRONG} == {"upserts"}
    loose = Keeper(keeper.bao, keeper.folder / "loose", f"{keeper.key}-loose")
    loose.folder.mkdir()
    root.secrets.transit.create_key(loose.key, key_type="aes256-gcm96", derived=True, exportable=True)
    root.write_data(f"transit/keys/{loose.key}/config", data={"deletion_allowed": True})
    says = [
        each.says
        for each in await keeper_findings("keeper", loose.master(shipped("control"), shipped("rotator")))
        if each.name == "transit key"
    ]
    assert len(says) == 2


async def test_a_keeper_that_refuses_is_told_from_one_that_is_away(keeper: Keeper) -> None:
    master = keeper.master(shipped("control"), None)  # it may not even read the key's version
    (found,) = await keeper_findings("keeper", master)
    assert (found.verdict, "refuses" in found.says) == (Verdict.WRONG, True)
    with pytest.raises(MasterRefused):
        await master.current_version()
    away = OpenBaoMaster(
        Transit(
            address=f"http://127.0.0.1:{free_port()}",
            mount="transit",
            key="x",
            token_file=keeper.folder / "control.token",
        )
    )
    (lost,) = await keeper_findings("keeper", away)
    assert lost.verdict is Verdict.DOWN
    keyless = OpenBaoMaster(
        Transit(
            address=keeper.bao.url,
            mount="transit",
            key="nothing-there",
            token_file=keeper.token('path "*" { capabilities = ["update", "read"] }', "wide"),
        )
    )
    (none,) = await keeper_findings("keeper", keyless)
    assert none.verdict is Verdict.WRONG


def test_the_command_asks_both_keepers_and_looks_at_their_files(
    desk: Desk, recording: str, copy: Path, keeper: Keeper
) -> None:
    del recording  # there are patient keys then
    control, rotator = (keeper.token(shipped(name), name) for name in ("control", "rotator"))
    settings: dict[str, Any] = {
        "REPLAYVAULT_MASTER_URL": f"openbao+{keeper.bao.url}/transit/{keeper.key}",
        "REPLAYVAULT_MASTER_TOKEN_FILE": str(control),
        "REPLAYVAULT_ROTATOR_TOKEN_FILE": str(rotator),
        "REPLAYVAULT_FORMER_MASTER_URL": "local",
    }
    done = desk.invoke("doctor", "--data-dir", copy, "--json", more=settings)
    assert (done.code, troubles(done)) == (Exit.OK, set())
    for name in (
        "patient keys",
        "keeper of the master key",
        "former keeper",
        "master token",
        "rotator token",
        "master key",
    ):
        assert findings(done)[name]["verdict"] == "ok"
    del settings["REPLAYVAULT_FORMER_MASTER_URL"]
    lost = desk.invoke("doctor", "--data-dir", copy, "--json", more=settings)
    assert troubles(lost) == {"patient keys"}
    assert "local" in findings(lost)["patient keys"]["says"]
    control.chmod(0o640)
    spoiled = desk.invoke("doctor", "--data-dir", copy, "--json", more=settings)
    assert troubles(spoiled) == {"master token", "keeper of the master key", "patient keys"}
    assert "chmod 600" in findings(spoiled)["master token"]["todo"]


def test_a_passphrase_file_is_looked_at(desk: Desk, recording: str, copy: Path) -> None:
    del recording
    passphrase = copy / "passphrase"
    passphrase.write_text("a long one\n", encoding="ascii")
    passphrase.chmod(0o644)
    (copy / "master.key").unlink()
    create_master_file(copy / "master.key", passphrase="a long one")
    more = {"REPLAYVAULT_MASTER_PASSPHRASE_FILE": str(passphrase)}
    assert troubles(desk.invoke("doctor", "--data-dir", copy, "--json", more=more)) == {"master passphrase"}
    passphrase.chmod(0o600)
    well = desk.invoke("doctor", "--data-dir", copy, "--json", more=more)
    assert findings(well)["keeper of the master key"]["verdict"] == "ok"
    passphrase.write_text("another\n", encoding="ascii")
    wrong = desk.invoke("doctor", "--data-dir", copy, "--json", more=more)
    assert troubles(wrong) == {"keeper of the master key"}


def test_a_key_file_of_another_backup_opens_no_patient_key(desk: Desk, recording: str, copy: Path) -> None:
    del recording
    assert findings(desk.invoke("doctor", "--data-dir", copy, "--json"))["patient keys"]["verdict"] == "ok"
    (copy / "master.key").unlink()
    create_master_file(copy / "master.key")
    assert troubles(desk.invoke("doctor", "--data-dir", copy, "--json")) == {"patient keys"}

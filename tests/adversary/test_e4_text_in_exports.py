"""E4: line breaks, control characters and formulas in what others chose: no export lets them act."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from fhir.resources.R4B.auditevent import AuditEvent

from tests.audit.entries import NOW, chain
from vault.audit.entry import Action, Decision, Event, Reason
from vault.audit.exporting import COLUMNS, Format, export
from vault.audit.viewing import Log, Span

RECORDING = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
NASTY = (
    "\n",
    "\r\nnext,row",
    "\x1b[31mred",
    "\x00",
    "\u2028",
    "\u202egnp.exe",
    "\ud800",
    "\U000e0001",
    '"quoted","cells"',
    "\\u000a",
    "=cmd|' /C calc'!A0",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
)


def written(folder: Path, text: str) -> Log:
    shared = {"actor": text, "recording": RECORDING, "request": text, "session": "ab" * 32}
    opened = Event(action=Action.VIEW_OPEN, decision=Decision.ALLOW, patient="0f" * 16, **shared)  # type: ignore[arg-type]
    closed = Event(
        action=Action.VIEW_CLOSE,
        decision=Decision.ALLOW,
        patient="0f" * 16,
        size_bytes=7,
        **shared,  # type: ignore[arg-type]
    )
    refused = Event(
        action=Action.VIEW_OPEN,
        decision=Decision.DENY,
        reason=Reason.KEY_MISMATCH,
        **shared,  # type: ignore[arg-type]
    )
    (folder / "log.jsonl").write_bytes(b"".join(chain([opened, closed, refused])))
    return Log((folder,))


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_a_table_has_one_row_for_each_entry_and_no_formula(tmp_path: Path, text: str) -> None:
    lines = list(export(written(tmp_path, text), Span(), form=Format.CSV))
    assert all(line.endswith("\r\n") and line[:-2].isprintable() for line in lines)
    rows = list(csv.reader(io.StringIO("".join(lines), newline="")))
    assert len(rows) == 4
    assert all(len(row) == len(COLUMNS) for row in rows)
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_events_are_valid_and_printable(tmp_path: Path, text: str) -> None:
    lines = list(export(written(tmp_path, text), Span(), form=Format.FHIR))
    assert len(lines) == 2
    for line in lines:
        assert AuditEvent.model_validate_json(line)
        assert line[:-1].isascii()
        assert line[:-1].isprintable()
        assert "\\u00" not in line.replace("\\\\u00", "")


def test_different_texts_stay_different(tmp_path: Path) -> None:
    seen = {"".join(export(written(tmp_path, text), Span(), form=Format.CSV)) for text in NASTY}
    assert len(seen) == len(NASTY)


def test_a_view_is_one_event_with_what_a_patient_read_needs(tmp_path: Path) -> None:
    """IHE BALP, profile PatientRead."""
    log = written(tmp_path, "session")
    view, refused = (json.loads(line) for line in export(log, Span(), form=Format.FHIR))
    assert (view["type"]["code"], view["subtype"][0]["code"], view["action"]) == ("rest", "read", "R")
    assert (view["outcome"], view["recorded"]) == ("0", NOW.isoformat(timespec="milliseconds"))
    agents = {agent["type"]["coding"][0]["code"]: agent for agent in view["agent"]}
    assert agents.keys() == {"110152", "110153", "IRCP"}
    assert all(agents[code]["network"]["address"] and agents[code]["who"] for code in ("110152", "110153"))
    assert [agents[code]["requestor"] for code in ("110152", "110153", "IRCP")] == [False, False, True]
    entities = {entity["type"]["code"]: entity for entity in view["entity"]}
    assert entities["1"]["role"]["code"] == "1"
    assert entities["1"]["what"]["type"] == "Patient"
    assert entities["1"]["what"]["identifier"]["value"] == "0f" * 16
    assert entities["2"]["what"]["identifier"]["value"] == f"urn:uuid:{RECORDING}"
    assert entities["2"]["detail"] == [{"type": "bytes sent", "valueString": "7"}]
    assert entities["XrequestId"]["what"]["identifier"]["value"] == "session"
    assert (refused["outcome"], refused["outcomeDesc"]) == ("4", "KEY_MISMATCH")
    assert "1" not in {entity["type"]["code"] for entity in refused["entity"]}
    assert "meta" not in refused

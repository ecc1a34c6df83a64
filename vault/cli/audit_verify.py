"""`replayvault audit verify` and `public-key`: is the log what was written, and whose signatures say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from keys.notes import load_public_keys
from vault.audit.verifying import Verdict
from vault.audit.verifying import verify as verdicts_on
from vault.cli.evidence import evidence_options, leave, sources
from vault.cli.examples import Exampled
from vault.cli.exits import sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.output import emit, json_option, table


@click.command(
    "verify",
    cls=Exampled,
    examples=(
        "replayvault audit verify",
        "replayvault audit verify --audit-dir /srv/a/audit --audit-dir /srv/b/audit --public-key keys.pub --json",
    ),
)
@evidence_options
@json_option
@data_dir_option
def verify(
    data_dir: Path | None, audit_dirs: tuple[Path, ...], public_keys: tuple[Path, ...], *, as_json: bool
) -> None:
    """Hold every file against its chain, its signed checkpoint and its anchors; exit code 5 where one differs.

    Tells for each writer: anchored; unanchored (with how many entries, and since when); altered (from which line);
    missing; truncated; forked (rewritten, or written twice); unknown-key and bad-checkpoint for checkpoints that
    nobody signed whose key was given. A tail that no anchor covers yet is fine while its writer lives.

    The public keys should come from where whoever could rewrite the log has no hand in it.
    """
    with sentences():
        where = sources(data_dir, audit_dirs, public_keys)
        testimony = where.testimony(where.keys())
        verdicts = list(verdicts_on(where.folders, testimony))
        broken = [sentence for verdict in verdicts for sentence in verdict.sentences()] + testimony.unread
        document = {
            "ok": not broken,
            "writers": [_document(verdict) for verdict in verdicts],
            "unread": testimony.unread,
        }
        emit(document, as_json=as_json, people=lambda: _show(verdicts))
    leave(broken)


@click.command("public-key", cls=Exampled, examples=("replayvault audit public-key > keys.pub",))
@json_option
@data_dir_option
def public_key(data_dir: Path | None, *, as_json: bool) -> None:
    """Print the public keys of this data folder, one a line: keep them where `verify` shall trust them."""
    with sentences():
        keys = [str(key) for key in load_public_keys(operator_settings(data_dir=data_dir).audit_public)]
        emit({"public_keys": keys}, as_json=as_json, people=lambda: click.echo("\n".join(keys)))


def _document(verdict: Verdict) -> dict[str, Any]:
    return {
        "writer": verdict.writer,
        "folder": verdict.folder,
        "state": verdict.state,
        "entries": verdict.entries,
        "signed": verdict.signed,
        "anchored": verdict.anchored,
        "unanchored": verdict.unanchored,
        "unanchored_since": verdict.unanchored_since,
        "closed": verdict.is_closed,
        "faults": [{"kind": it.kind.value, "line": it.line, "what": it.what} for it in verdict.faults],
    }


def _show(verdicts: list[Verdict]) -> None:
    rows = [
        (each.writer, each.state, each.entries, each.anchored, each.unanchored, each.unanchored_since or "")
        for each in verdicts
    ]
    table(("WRITER", "STATE", "ENTRIES", "ANCHORED", "UNANCHORED", "SINCE"), rows)

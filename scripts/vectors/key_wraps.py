"""Vectors of identifiers, wraps, patient keys, pseudonyms and sealed details."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any, Final

from keys import contexts
from keys.ids import (
    Generation,
    KeyId,
    PatientRef,
    RecordingId,
    TenantId,
    parse_consultation,
    parse_patient,
    parse_tenant,
    parse_uuid,
)
from keys.opening import open_recording_key
from keys.patient import join_halves, pseudonym
from keys.recording_wraps import RecordingWrap
from keys.seal import seal_with_nonce
from keys.secret import ErasureShare, MasterHalf, MasterKey, PatientKey, RecordingKey
from keys.session import GrantedKey
from keys.wrap import unwrap
from vault.details import PAD_BYTES, Metadata, Summary, open_details
from vault.objects.access import RecordingAccess
from vectors.judging import (
    GENERATION,
    OTHER_PATIENT,
    OTHER_RECORDING,
    PATIENT,
    PATIENT_KEY_ID,
    RECORDING,
    RECORDING_KEY_ID,
    TENANT,
    Changes,
    Inputs,
    Page,
    fixed,
    flip,
)

NONCE: Final = fixed("nonce ", size_bytes=24)
PATIENT_KEY: Final = PatientKey(fixed("patient key "))
RECORDING_KEY: Final = RecordingKey(fixed("recording key "))
MASTER_KEY: Final = MasterKey(fixed("master key "))
HALF: Final = MasterHalf(fixed("master half "))
SHARE: Final = ErasureShare(fixed("erasure share "))
_KINDS: Final = {"metadata": Metadata, "summary": Summary}


def pages() -> Iterator[Page]:
    """The pages of this module."""
    yield _identifier_page()
    yield _recording_key_page()
    yield _master_half_page()
    yield _patient_key_page()
    yield _pseudonym_page()
    yield _details_page()


def _identify(inputs: Inputs) -> dict[str, Any]:
    kind, text = inputs["kind"], inputs["text"]
    if kind == "uuid":
        return {"bytes": parse_uuid(text).bytes.hex()}
    parse: Any = {"tenant": parse_tenant, "patient": parse_patient, "consultation": parse_consultation}[kind]
    return {"lp": contexts.lp(parse(text)).hex()}


def _identifier_page() -> Page:
    page = Page("identifiers", "2", _identify)
    for kind, text in (
        ("tenant", "clinic"),
        ("patient", "urn:uuid:0b~1_2.3"),
        ("consultation", "x" * 128),
        ("patient", "7"),
    ):
        page.opens(f"{kind} {text[:20]}", {"kind": kind, "text": text})
    page.opens("a uuid", {"kind": "uuid", "text": str(RECORDING)})
    for text in (
        "",
        "x" * 129,
        "-a",
        ".a",
        "a b",
        "a/b",
        "a\n",
        "a\u0000",
        "\u00e4",
        "a%2f",
        "a\u200b",
        "\u0661",
    ):
        page.refuses(f"patient {text[:8]!r}", "MalformedId", {"kind": "patient", "text": text})
    bare = str(RECORDING)
    for text in (
        bare.upper(),
        bare.replace("-", ""),
        f"{{{bare}}}",
        f"urn:uuid:{bare}",
        bare[:-1],
        bare + "\n",
    ):
        page.refuses(f"uuid {text!r}", "MalformedId", {"kind": "uuid", "text": text})
    return page


def _recording_context(inputs: Inputs) -> bytes:
    return contexts.recording_key_context(
        tenant=TenantId(inputs["tenant"]),
        patient=PatientRef(inputs["patient"]),
        patient_key_id=KeyId(uuid.UUID(inputs["patient_key_id"])),
        generation=Generation(inputs["generation"]),
        recording_id=RecordingId(uuid.UUID(inputs["recording_id"])),
        recording_key_id=KeyId(uuid.UUID(inputs["recording_key_id"])),
    )


def _open_recording_key(inputs: Inputs) -> dict[str, Any]:
    granted = GrantedKey(
        KeyId(uuid.UUID(inputs["patient_key_id"])),
        Generation(inputs["generation"]),
        PatientKey(bytes.fromhex(inputs["patient_key"])),
    )
    recording_id = RecordingId(uuid.UUID(inputs["recording_id"]))
    wrapped = bytes.fromhex(inputs["wrap"])
    key = open_recording_key(
        [RecordingWrap(recording_id, granted.key_id, granted.generation, wrapped)],
        [granted],
        tenant=TenantId(inputs["tenant"]),
        patient=PatientRef(inputs["patient"]),
        recording_id=recording_id,
        recording_key_id=KeyId(uuid.UUID(inputs["recording_key_id"])),
    )
    return {"context": _recording_context(inputs).hex(), "recording_key": key.reveal(to="vector").hex()}


def _refuse_broken_wraps(page: Page, inputs: dict[str, Any], wrapped: bytes) -> None:
    page.refuses("one byte short", "Malformed", inputs, wrap=wrapped[:-1].hex())
    page.refuses("one byte long", "Malformed", inputs, wrap=(wrapped + b"\0").hex())
    page.refuses("nothing", "Malformed", inputs, wrap="")
    page.refuses("another version", "Malformed", inputs, wrap=flip(wrapped, byte=0, mask=3).hex())
    page.refuses("a flipped bit of the nonce", "KeyMismatch", inputs, wrap=flip(wrapped, byte=1).hex())
    page.refuses("a flipped bit of the commitment", "KeyMismatch", inputs, wrap=flip(wrapped, byte=25).hex())
    page.refuses("a flipped bit of the ciphertext", "Damaged", inputs, wrap=flip(wrapped, byte=57).hex())
    page.refuses("a flipped bit of the tag", "Damaged", inputs, wrap=flip(wrapped, byte=-1).hex())


def _recording_key_page() -> Page:
    page = Page("recording-key", "7", _open_recording_key)
    inputs: dict[str, Any] = {
        "patient_key": PATIENT_KEY.reveal(to="vector").hex(),
        "tenant": TENANT,
        "patient": PATIENT,
        "patient_key_id": str(PATIENT_KEY_ID),
        "generation": GENERATION,
        "recording_id": str(RECORDING),
        "recording_key_id": str(RECORDING_KEY_ID),
    }
    wrapped = seal_with_nonce(
        RECORDING_KEY.reveal(to="vector"),
        PATIENT_KEY,
        person=contexts.PERSON_WRAP,
        context=_recording_context(inputs),
        nonce=NONCE,
    )
    inputs["wrap"] = wrapped.hex()
    page.opens("a recording key", inputs, also={"nonce": NONCE.hex()})
    changes: Changes = {
        "another patient key": {"patient_key": fixed("another key ").hex()},
        "another tenant": {"tenant": "other"},
        "another patient": {"patient": OTHER_PATIENT},
        "another patient key id": {"patient_key_id": str(RECORDING_KEY_ID)},
        "another generation": {"generation": 2},
        "another recording": {"recording_id": str(OTHER_RECORDING)},
        "another recording key id": {"recording_key_id": str(PATIENT_KEY_ID)},
        "fields that run into each other": {"tenant": "clinicp", "patient": "atient-1"},
    }
    for name, changed in changes.items():
        page.refuses(name, "KeyMismatch", inputs, **changed)
    _refuse_broken_wraps(page, inputs, wrapped)
    return page


def _half_context(inputs: Inputs) -> bytes:
    return contexts.patient_key_context(
        tenant=TenantId(inputs["tenant"]),
        patient=PatientRef(inputs["patient"]),
        key_id=KeyId(uuid.UUID(inputs["patient_key_id"])),
        generation=Generation(inputs["generation"]),
    )


def _open_half(inputs: Inputs) -> dict[str, Any]:
    context = _half_context(inputs)
    master = MasterKey(bytes.fromhex(inputs["master_key"]))
    half = unwrap(bytes.fromhex(inputs["wrap"]), master, context=context, kind=MasterHalf)
    return {"context": context.hex(), "master_half": half.reveal(to="vector").hex()}


def _generation() -> dict[str, Any]:
    return {
        "tenant": TENANT,
        "patient": PATIENT,
        "patient_key_id": str(PATIENT_KEY_ID),
        "generation": GENERATION,
    }


def _master_half_page() -> Page:
    page = Page("master-half", "6.2", _open_half)
    inputs = {"master_key": MASTER_KEY.reveal(to="vector").hex(), **_generation()}
    wrapped = seal_with_nonce(
        HALF.reveal(to="vector"),
        MASTER_KEY,
        person=contexts.PERSON_WRAP,
        context=_half_context(inputs),
        nonce=NONCE,
    )
    inputs["wrap"] = wrapped.hex()
    page.opens("a master half", inputs, also={"nonce": NONCE.hex()})
    page.refuses("another master key", "KeyMismatch", inputs, master_key=fixed("another key ").hex())
    page.refuses("another patient", "KeyMismatch", inputs, patient=OTHER_PATIENT)
    page.refuses("another generation", "KeyMismatch", inputs, generation=2)
    _refuse_broken_wraps(page, inputs, wrapped)
    return page


def _join(inputs: Inputs) -> dict[str, Any]:
    half = MasterHalf(bytes.fromhex(inputs["master_half"]))
    share = ErasureShare(bytes.fromhex(inputs["erasure_share"]))
    key = join_halves(half, share, context=_half_context(inputs))
    return {"patient_key": key.reveal(to="vector").hex()}


def _patient_key_page() -> Page:
    page = Page("patient-key", "6.3", _join)
    halves = {
        "master_half": HALF.reveal(to="vector").hex(),
        "erasure_share": SHARE.reveal(to="vector").hex(),
    }
    page.opens("generation 1", {**halves, **_generation()})
    page.opens("generation 2 of the same halves", {**halves, **_generation(), "generation": 2})
    page.opens("another share", {**halves, **_generation(), "erasure_share": fixed("another share ").hex()})
    page.opens("another half", {**halves, **_generation(), "master_half": fixed("another half ").hex()})
    page.refuses("a short share", "Malformed", {**halves, **_generation()}, erasure_share="00" * 31)
    return page


def _name(inputs: Inputs) -> dict[str, Any]:
    share = ErasureShare(bytes.fromhex(inputs["erasure_share"]))
    found = pseudonym(share, tenant=TenantId(inputs["tenant"]), patient=PatientRef(inputs["patient"]))
    return {"pseudonym": found}


def _pseudonym_page() -> Page:
    page = Page("pseudonym", "12", _name)
    share = SHARE.reveal(to="vector").hex()
    page.opens("a patient", {"erasure_share": share, "tenant": TENANT, "patient": PATIENT})
    page.opens("another patient", {"erasure_share": share, "tenant": TENANT, "patient": OTHER_PATIENT})
    other = fixed("another share ").hex()
    page.opens("another share", {"erasure_share": other, "tenant": TENANT, "patient": PATIENT})
    return page


def _details_context(inputs: Inputs) -> bytes:
    return contexts.recording_data_context(
        contexts.METADATA if inputs["kind"] == "metadata" else contexts.SUMMARY,
        tenant=TenantId(inputs["tenant"]),
        patient=PatientRef(inputs["patient"]),
        recording_id=RecordingId(uuid.UUID(inputs["recording_id"])),
        recording_key_id=KeyId(uuid.UUID(inputs["recording_key_id"])),
    )


def _open_details(inputs: Inputs) -> dict[str, Any]:
    access = RecordingAccess(
        tenant=TenantId(inputs["tenant"]),
        patient=PatientRef(inputs["patient"]),
        recording_id=RecordingId(uuid.UUID(inputs["recording_id"])),
        key_id=KeyId(uuid.UUID(inputs["recording_key_id"])),
        key=RecordingKey(bytes.fromhex(inputs["recording_key"])),
    )
    kind: Any = _KINDS[inputs["kind"]]
    details = open_details(bytes.fromhex(inputs["sealed"]), access, kind=kind)
    return {
        "context": _details_context(inputs).hex(),
        "details": json.loads(details.model_dump_json(exclude_none=True)),
    }


def _sealed_details(inputs: dict[str, Any], text: str) -> bytes:
    plain = text.encode()
    return seal_with_nonce(
        plain + b" " * (-len(plain) % PAD_BYTES),
        RECORDING_KEY,
        person=contexts.PERSON_METADATA,
        context=_details_context(inputs),
        nonce=NONCE,
    )


def _details_page() -> Page:
    page = Page("details", "8", _open_details)
    texts = {
        "metadata": '{"title":"Gespr\u00e4ch, Fr\u00fchjahr","clinician":"Dr Osei",'
        '"consulted_at":"2026-03-01T09:30:00Z"}',
        "summary": '{"duration_s":61.5,"has_video":true,"has_audio":true,"files":["720p.mp4","audio.mp4"],'
        '"published_at":"2026-03-01T10:02:03.004000Z"}',
    }
    inputs: dict[str, Any] = {
        "recording_key": RECORDING_KEY.reveal(to="vector").hex(),
        "tenant": TENANT,
        "patient": PATIENT,
        "recording_id": str(RECORDING),
        "recording_key_id": str(RECORDING_KEY_ID),
    }
    for kind, text in texts.items():
        inputs["kind"] = kind
        inputs["sealed"] = _sealed_details(inputs, text).hex()
        page.opens(kind, inputs, also={"nonce": NONCE.hex(), "json": text})
    sealed = bytes.fromhex(inputs["sealed"])
    page.refuses("a summary read as metadata", "KeyMismatch", inputs, kind="metadata")
    page.refuses("another recording", "KeyMismatch", inputs, recording_id=str(OTHER_RECORDING))
    page.refuses("another patient", "KeyMismatch", inputs, patient=OTHER_PATIENT)
    page.refuses("another key", "KeyMismatch", inputs, recording_key=fixed("another key ").hex())
    page.refuses("a flipped bit", "Damaged", inputs, sealed=flip(sealed, byte=100).hex())
    page.refuses("cut", "Malformed", inputs, sealed=sealed[:72].hex())
    for name, text in {
        "no JSON": "title",
        "a member that is not known": '{"title":"T","x":1}',
        "a member missing": '{"clinician":"C"}',
        "a title of 201 characters": json.dumps({"title": "t" * 201}),
        "a time without a zone": '{"title":"T","consulted_at":"2026-03-01T09:30:00"}',
    }.items():
        inputs["kind"] = "metadata"
        page.refuses(name, "Malformed", inputs, sealed=_sealed_details(inputs, text).hex())
    return page

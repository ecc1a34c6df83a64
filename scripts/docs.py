#!/usr/bin/env python3
"""Write the generated pages of docs/ anew: the test vectors of docs/format.md.

    python scripts/docs.py [--vectors] [--into FOLDER]

Invariants:
- nothing here is random or reads a clock: every key, nonce, salt and time stands below, so two runs write the same bytes;
- no vector is written that the product does not judge as the vector says: each is opened here first.
"""  # noqa: INP001 - a script, not a package

from __future__ import annotations

import argparse
import base64
import datetime as dt
import json
import sys
import uuid
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import nacl.bindings

ROOT: Final = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from keys import contexts, ids, payload  # noqa: E402 - the script runs from a checkout
from keys.digest import blake2b  # noqa: E402
from keys.errors import KeysError  # noqa: E402
from keys.handover import open_handover  # noqa: E402
from keys.ids import FileId, Generation, KeyId, PatientRef, RecordingId, TenantId  # noqa: E402
from keys.master.local import _parse as parse_master_file  # noqa: E402
from keys.opening import open_recording_key  # noqa: E402
from keys.patient import join_halves, pseudonym  # noqa: E402
from keys.recording_wraps import RecordingWrap  # noqa: E402
from keys.records import Kind, Token, open_record, seal_record_with_nonce, tier_id  # noqa: E402
from keys.seal import seal_with_nonce  # noqa: E402
from keys.secret import (  # noqa: E402
    ErasureShare,
    MasterHalf,
    MasterKey,
    PatientKey,
    RecordingKey,
    TierSecret,
    WorkerKey,
)
from keys.service_token import hash_service_token  # noqa: E402
from keys.session import GrantedKey, open_session  # noqa: E402
from keys.ticket import open_ticket  # noqa: E402
from keys.tier import load_tier_file  # noqa: E402
from keys.wrap import unwrap  # noqa: E402

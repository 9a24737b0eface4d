"""payoutd itself, as its operators use it: files in, commands, JSON out."""

import contextlib
import csv
import datetime
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request

from processes import ROOT, TARGET, process

BINARY = TARGET / "debug/payoutd"
ORG = "contract-org"
HEADERS = {
    "programs": "program,title,currency,hold_days,min_payout,auto_credit,auto_payout",
    "affiliates": "affiliate_id,program,partner_id,name,email,code,status,method,destination,"
    "method_status",
    "commissions": "commission_id,affiliate_id,order_id,order_amount,amount,currency,converted_at",
}
# The smallest amount of a currency; 0.01 of the others.
SMALLEST = {"JPY": "1", "KRW": "1", "UGX": "1", "KWD": "0.001", "BHD": "0.001"}


class Payee:
    """One affiliate with one commission, which is to be paid in full."""

    def __init__(self, affiliate_id, name, currency, amount, method, destination):
        self.affiliate_id, self.name = affiliate_id, name
        self.currency, self.amount = currency, amount
        self.method, self.destination = method, destination


class Payoutd:
    """A payoutd with a database of its own in `folder`."""

    def __init__(self, folder, settings):
        self.folder = folder
        # Nothing of the caller's own configuration may leak in.
        keep = {key: value for key, value in os.environ.items() if not key.startswith("PAYOUTD")}
        self.environment = {
            **keep,
            "PAYOUTD__DATABASE__URL": f"sqlite://{folder}/payoutd.db",
            **{f"PAYOUTD__{key.upper().replace('.', '__')}": v for key, v in settings.items()},
        }
        self._faked = None

    def set_clock(self, instant):
        """Lets every command from now on begin at `instant` (a naive datetime in UTC), and as much
        later as time has passed since this call."""
        self._faked = (instant, time.monotonic())

    def _clock(self):
        """What a command line begins with for its faked time."""
        if self._faked is None:
            return []
        instant, since = self._faked
        begin = instant + datetime.timedelta(seconds=time.monotonic() - since)
        # Only the time of day is faked: timers run on, and files keep their own times.
        kept = ["TZ=UTC", "FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1"]
        return ["env", *kept, "faketime", "-f", f"@{begin:%Y-%m-%d %H:%M:%S}"]

    def run(self, *words, codes=(0,), settings=None):
        """Runs a command, which must end with one of `codes`; what it printed."""
        given = {f"PAYOUTD__{k.upper().replace('.', '__')}": v for k, v in (settings or {}).items()}
        done = subprocess.run(
            [*self._clock(), str(BINARY), *words],
            env={**self.environment, **given},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        with open(self.folder / "commands.log", "a") as log:
            log.write(f"$ {' '.join(words)}  [{done.returncode}]\n{done.stdout}{done.stderr}\n")
        if done.returncode not in codes:
            tail = (done.stdout + done.stderr)[-1500:]
            raise RuntimeError(f"payoutd {' '.join(words)} ended with {done.returncode}: {tail}")
        return done.stdout

    def json(self, *words, **more):
        """Runs a command and reads its answer."""
        return json.loads(self.run(*words, "--json", **more))

    def job(self, job_id, now=True, settings=None):
        """Runs a job, which may end with transfers that are not accepted yet; its run."""
        reach = ["--now"] if now and job_id in ("submit-transfers", "reconcile-transfers") else []
        return self.json("job", "run", job_id, *reach, codes=(0, 3), settings=settings)

    def take_in(self, payees, tag="in"):
        """Imports payees, their commissions, and a program for each of their currencies."""
        folder = self.folder / tag
        folder.mkdir()
        currencies = sorted({payee.currency for payee in payees})
        self._write(folder, "programs", [
            [f"in-{code.lower()}", f"Paid in {code}", code, 0, SMALLEST.get(code, "0.01"),
             "true", "true"] for code in currencies])
        self._write(folder, "affiliates", [
            [p.affiliate_id, f"in-{p.currency.lower()}", f"partner-{p.affiliate_id}", p.name, "",
             p.affiliate_id, "active", p.method,
             json.dumps(p.destination, ensure_ascii=False), "verified"] for p in payees])
        self._write(folder, "commissions", [
            [f"c-{p.affiliate_id}", p.affiliate_id, f"o-{p.affiliate_id}", p.amount, p.amount,
             p.currency, "2020-02-29T12:00:00Z"] for p in payees])
        self.run("import", str(folder), "--org", ORG)

    @staticmethod
    def _write(folder, name, rows):
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as out:
            out.write(HEADERS[name] + "\n")
            csv.writer(out, lineterminator="\n").writerows(rows)

    @contextlib.contextmanager
    def daemon(self):
        """Runs the daemon with its HTTP server beside the `with` block; where it listens."""
        log = self.folder / "daemon.log"
        environment = {**self.environment, "PAYOUTD__HTTP__LISTEN": "127.0.0.1:0"}
        with process([BINARY, "run"], log, "http.listening", environment) as running:
            yield re.search(r'http\.listening" address="([^"]+)"', log.read_text())[1]
            if running.poll() is not None:
                raise RuntimeError(f"the daemon has ended: see {log}")

    def request_all(self):
        """Releases and requests everything."""
        self.job("release-holds")
        return self.job("auto-payout")

    def all_payouts(self):
        """Every payout, oldest first."""
        found, after = [], ""
        while page := self.json(
                "payout", "list", "--org", ORG, "--limit", "500", "--after", after):
            found += page
            after = page[-1]["payout_id"]
        return found

    def payouts(self):
        """The last payout of each affiliate."""
        found = sorted(self.all_payouts(), key=lambda payout: payout["requested_at"])
        return {payout["affiliate_id"]: payout for payout in found}

    def show(self, payout):
        """One payout with its transfers and its history."""
        return self.json("payout", "show", payout["payout_id"], "--org", ORG)

    def breaches(self):
        """What `payoutd check` finds wrong."""
        lines = self.json("check", codes=(0, 1))["invariants"]
        return [line for line in lines if not line["ok"]]


def jobs_at_rest(folder):
    """The jobs in a folder of their own, where none of them runs by itself."""
    rest = folder / "jobs"
    shutil.copytree(ROOT / "jobs", rest)
    for job in rest.glob("*.toml"):
        job.write_text(job.read_text().replace("enabled = true", "enabled = false"))
    return rest


class Sandbox:
    """A running `payoutd sandbox`."""

    def __init__(self, address):
        self.address = address
        self.url = f"http://{address}"

    def call(self, method, path, body=None):
        """One call of the sandbox's own; its answer's body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def books(self, provider):
        """What a provider's side has on its books."""
        return self.call("GET", "/_sandbox/books")[provider]

    def fault(self, **fault):
        """Arms a fault."""
        self.call("POST", "/_sandbox/faults", fault)


@contextlib.contextmanager
def sandbox(folder, *words):
    """Runs `payoutd sandbox` on a free port of loopback."""
    log = folder / "sandbox.log"
    command = [BINARY, "sandbox", "--listen", "127.0.0.1:0", *words]
    with process(command, log, "Ctrl-C stops it", {"TMPDIR": str(folder)}):
        address = log.read_text().split("http://", 1)[1].split(" ", 1)[0]
        yield Sandbox(address)

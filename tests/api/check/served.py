"""The API, held from outside on one database: the platform's snippets in Node, then Schemathesis
over the served document, as staff and as a partner. At the end the ledger has to hold.

    served.py sqlite|postgres
"""

import base64
import datetime
import hashlib
import hmac
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARY = TARGET / "debug/payoutd"
ORG = "my-org"
SECRET = "a secret of the checks, of more than 32 bytes"
# One run's budget, in seconds; and examples for each operation.
PASSES = [
    ("staff", ["staff", "approver"], "sam", 12, 60),
    ("partner", ["partner"], "alex", 4, 25),
]


def main(database):
    folder = TARGET / "api-checks" / database
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    served = Served(folder, database)
    served.write_data()
    served.run("import", "data", "--org", ORG)
    # An operator who sets no more than where to listen and how tokens are signed.
    with served:
        seed = ROOT / "tests/api/check/seed.mjs"
        subprocess.run(["node", str(seed), served.url, SECRET], check=True, timeout=60)
    # Thousands of calls in a minute are what is wanted here.
    served.environment["PAYOUTD__HTTP__REQUESTS_PER_MINUTE"] = "1000000"
    served.environment["PAYOUTD__HTTP__FAILED_PROOFS_PER_MINUTE"] = "1000000"
    failed = []
    with served:
        for name, roles, sub, examples, seconds in PASSES:
            if not served.explore(name, token(sub, roles), examples, seconds):
                failed.append(name)
    served.run("check")
    print(f"  the ledger on {database}: OK")
    if failed:
        sys.exit(f"  FAIL schemathesis on {database} as {', '.join(failed)}: see {folder}")


def token(sub, roles):
    part = lambda value: base64.urlsafe_b64encode(value).rstrip(b"=")
    head = part(b'{"alg":"HS256","typ":"JWT"}')
    claims = {"sub": sub, "orgid": ORG, "roles": roles, "exp": int(time.time()) + 3600}
    signed = head + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.digest(SECRET.encode(), signed, hashlib.sha256))).decode()


class Served:
    """A payoutd over a database of its own, served on a free port within `with`."""

    def __init__(self, folder, database):
        self.folder = folder
        # Nothing of the caller's own configuration may leak in.
        keep = {key: value for key, value in os.environ.items() if not key.startswith("PAYOUTD")}
        self.environment = {**keep, "PAYOUTD__AUTH__JWT_SECRET": SECRET}
        if database == "postgres":
            self.environment["PAYOUTD__DATABASE__URL"] = os.environ["PAYOUTD_TEST_POSTGRES_URL"]
            key = base64.b64encode(bytes(range(32))).decode()
            self.environment["PAYOUTD__VAULT__MASTER_KEYS"] = f"mk-1={key}"

    def write_data(self):
        data = self.folder / "data"
        data.mkdir()
        (data / "programs.csv").write_text(
            "program,title,currency,hold_days,min_payout,auto_credit,auto_payout\n"
            "creator,Creators,USD,30,50.00,true,true\n"
        )
        heads = "affiliate_id,program,partner_id,name,email,code,status,method,destination"
        rows = [f"{heads},method_status"]
        for person, affiliate in (("alex", "alex-affiliate-id"), ("ben", "ben-affiliate-id")):
            code = "ALEX-2K9" if person == "alex" else "BEN-1"
            destination = f'"{{""email"":""{person}@example.com""}}"'
            rows.append(
                f"{affiliate},creator,{person},{person},{person}@example.com,{code},active,"
                f"paypal,{destination},verified"
            )
        (data / "affiliates.csv").write_text("\n".join(rows) + "\n")
        now = datetime.datetime.now(datetime.timezone.utc)
        old, fresh = ((now - datetime.timedelta(days=days)).isoformat() for days in (60, 1))
        rows = ["commission_id,affiliate_id,order_id,order_amount,amount,currency,converted_at"]
        for row in (
            f"c-1,alex-affiliate-id,o-1,6000.00,600.00,USD,{old}",
            f"c-2,alex-affiliate-id,o-2,4000.00,400.00,USD,{old}",
            f"c-3,alex-affiliate-id,o-3,2405.00,240.50,USD,{fresh}",
            f"c-4,ben-affiliate-id,o-4,2405.00,240.50,USD,{old}",
        ):
            rows.append(row)
        (data / "commissions.csv").write_text("\n".join(rows) + "\n")
        # What is old is released, as the daemon's job would within the hour.
        self.first = True

    def run(self, *words):
        done = subprocess.run(
            [str(BINARY), *words],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode != 0:
            raise SystemExit(f"payoutd {' '.join(words)}: {done.stdout}{done.stderr}")
        if words[0] == "import":
            self.run("job", "run", "release-holds")
        return done.stdout

    def __enter__(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{taken.getsockname()[1]}"
        self.url = f"http://{address}"
        environment = {**self.environment, "PAYOUTD__HTTP__LISTEN": address}
        self.log = open(self.folder / "daemon.log", "ab")
        self.process = subprocess.Popen(
            [str(BINARY), "run"],
            env=environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.url}/readyz", timeout=5).read()
                return self
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        raise SystemExit(f"payoutd does not answer: see {self.folder}/daemon.log")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            ended = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            ended = self.process.wait()
        self.log.close()
        if ended != 0 and sys.exc_info()[0] is None:
            raise SystemExit(f"payoutd ended with {ended}: see {self.folder}/daemon.log")

    def explore(self, name, bearer, examples, seconds):
        report = self.folder / f"{name}.txt"
        command = [
            str(Path(sys.executable).parent / "schemathesis"),
            "--config-file",
            str(ROOT / "tests/api/schemathesis.toml"),
            "run",
            f"{self.url}/openapi.json",
            *("-H", f"Authorization: Bearer {bearer}", "-H", f"orgid: {ORG}"),
            *("--max-examples", str(examples), "--max-time", str(seconds)),
            *("--checks", "all", "--workers", "1", "--no-color"),
        ]
        hooks = ROOT / "tests/api/hooks.py"
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(hooks)}
        with open(report, "w") as out:
            done = subprocess.run(
                command, cwd=self.folder, env=environment, stdout=out, stderr=subprocess.STDOUT, timeout=600
            )
        ending = report.read_text().rstrip().splitlines()[-1:]
        print(f"  schemathesis as {name}: {'OK' if done.returncode == 0 else 'FAIL'} {ending}")
        return done.returncode == 0


if __name__ == "__main__":
    main(sys.argv[1])

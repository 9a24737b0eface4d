"""Three replicas on one PostgreSQL, with money moving, while everything goes wrong that can.

Jobs of every ten seconds release, request, send and settle. Meanwhile replicas are killed, stopped
for longer than a lease, restarted, one has its clock ten minutes ahead and one ten minutes behind,
and the database crashes. Afterwards the database has to tell a story without a hole: each due instant
of each job has one row, no two attempts of a job ran at once, nothing was paid twice, the books
balance. Run by scripts/test-replicas, which gives the server.
"""

import argparse
import collections
import glob
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# A copy: a build beside this must not change what is started again.
PAYOUTD = TARGET / "soak" / "payoutd"
SERVER = os.environ["PAYOUTD_TEST_POSTGRES_URL"]
CRASH = os.environ["PAYOUTD_TEST_POSTGRES_CRASH"]
MASTER_KEY = "mk-test=AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
LEASE_SECONDS = 4
EVERY_SECONDS = 10
# Each with another way to take what was missed, and two ways to take what overlaps.
JOBS = {
    "release-holds": ("release_holds", "latest", "skip", ""),
    "auto-payout": ("request_payouts", "all", "queue_one", '[params]\nperiod = "day"\nbatch = 3\n'),
    "submit-transfers": ("submit_transfers", "skip", "skip", ""),
    "reconcile-transfers": ("reconcile_transfers", "latest", "skip", ""),
}
ENDED = {"succeeded", "partial", "failed", "timed_out", "lost", "skipped", "cancelled"}

# What the database saw itself: its own clock at each new run, and payouts of runs that did not run.
WITNESS = """
CREATE TABLE soak_runs (run_id TEXT PRIMARY KEY, at TIMESTAMPTZ NOT NULL);
CREATE TABLE soak_stray (payout_id TEXT, run_id TEXT, state TEXT);
CREATE FUNCTION soak_run() RETURNS trigger AS $$ BEGIN
    INSERT INTO soak_runs VALUES (NEW.run_id, clock_timestamp()); RETURN NEW; END $$ LANGUAGE plpgsql;
CREATE FUNCTION soak_payout() RETURNS trigger AS $$ BEGIN
    INSERT INTO soak_stray SELECT NEW.payout_id, r.run_id, r.state FROM job_runs r
    WHERE r.run_id = NEW.run_id AND r.state <> 'running'; RETURN NEW; END $$ LANGUAGE plpgsql;
CREATE TRIGGER soak_run AFTER INSERT ON job_runs FOR EACH ROW EXECUTE FUNCTION soak_run();
CREATE TRIGGER soak_payout AFTER INSERT ON payouts FOR EACH ROW EXECUTE FUNCTION soak_payout();
"""


def say(words):
    print(f"{time.strftime('%H:%M:%S')} {words}", flush=True)


class Failed(Exception):
    pass


def require(holds, words):
    if not holds:
        raise Failed(words)


class Place:
    """A folder, a database, a sandbox."""

    def __init__(self, folder):
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "jobs").mkdir(parents=True)
        shutil.copy2(TARGET / "debug" / "payoutd", PAYOUTD)
        self.folder = folder
        for name, (kind, misfire, overlap, rest) in JOBS.items():
            (folder / "jobs" / f"{name}.toml").write_text(
                f'kind = "{kind}"\nenabled = true\nschedule = "*/{EVERY_SECONDS} * * * * *"\n'
                f'misfire = {{ policy = "{misfire}" }}\noverlap = "{overlap}"\ntimeout = "30s"\n'
                f'retry = {{ max_attempts = 6, base = "1s", cap = "2s" }}\n{rest}'
            )
        name = f"soak_{os.getpid()}"
        self.psql_at(SERVER, f"CREATE DATABASE {name}")
        # The server of tests forgets commits when it crashes; this one must not.
        self.psql_at(SERVER, "ALTER SYSTEM SET synchronous_commit = on")
        self.psql_at(SERVER, "SELECT pg_reload_conf()")
        self.database = SERVER.rsplit("/", 1)[0] + "/" + name
        self.address = None

    def environment(self, clock=0):
        env = {
            "PATH": os.environ["PATH"],
            "USER": "soak",
            "TMPDIR": str(self.folder),
            "PAYOUTD__DATABASE__URL": self.database,
            "PAYOUTD__VAULT__MASTER_KEYS": MASTER_KEY,
            "PAYOUTD__JOBS__DIR": str(self.folder / "jobs"),
            "PAYOUTD__JOBS__DRAIN_MS": "3000",
            "PAYOUTD__ENGINE__LEASE_MS": str(LEASE_SECONDS * 1000),
            "PAYOUTD__ENGINE__HEARTBEAT_MS": "1000",
            "PAYOUTD__PROVIDERS__PAYPAL__BASE_URL": f"http://{self.address}",
            "PAYOUTD__PROVIDERS__PAYPAL__CLIENT_ID": "an-id",
            "PAYOUTD__PROVIDERS__PAYPAL__CLIENT_SECRET": "a-secret",
            "PAYOUTD__PROVIDERS__PAYPAL__BATCH_SIZE": "2",
        }
        if clock:
            libraries = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
            require(libraries, "libfaketime is not installed")
            env["LD_PRELOAD"] = libraries[0]
            env["FAKETIME"] = f"{clock:+d}"
            env["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
        return env

    def psql_at(self, url, text):
        done = subprocess.run(
            ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url, "-c", text],
            capture_output=True, text=True, timeout=60,
        )
        require(done.returncode == 0, f"{text}: {done.stderr}")
        return done.stdout

    def rows(self, query):
        out = self.psql_at(self.database, f"SELECT row_to_json(q) FROM ({query}) q")
        return [json.loads(line) for line in out.splitlines()]

    def run(self, *words, code=0):
        done = subprocess.run(
            [PAYOUTD, *words], cwd=self.folder, env=self.environment(),
            capture_output=True, text=True, timeout=120,
        )
        if code is not None:
            require(done.returncode == code, f"{words}: {done.returncode}\n{done.stderr}{done.stdout}")
        return done

    def books(self):
        with urllib.request.urlopen(f"http://{self.address}/_sandbox/books", timeout=30) as answer:
            return json.load(answer)["paypal"]

    def fault(self, **fault):
        body = json.dumps({"on": "POST /v1/payments/payouts", **fault}).encode()
        request = urllib.request.Request(f"http://{self.address}/_sandbox/faults", body, method="POST")
        urllib.request.urlopen(request, timeout=30).close()


class Replica:
    """One `payoutd run`, with its own clock, started again whenever it was ended."""

    def __init__(self, place, name, clock):
        self.place, self.name, self.clock = place, name, clock
        self.process = None

    def start(self):
        log = open(self.place.folder / f"{self.name}.log", "ab")
        self.process = subprocess.Popen(
            [PAYOUTD, "run", "--log-format", "json"], cwd=self.place.folder,
            env=self.place.environment(self.clock), stdin=subprocess.DEVNULL,
            stdout=log, stderr=log,
        )
        log.close()

    def signal(self, number):
        self.process.send_signal(number)

    def ended(self, seconds):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed(f"{self.name} did not end within {seconds} s of SIGTERM") from None

    def log(self):
        for line in (self.place.folder / f"{self.name}.log").read_text(errors="replace").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                # Cut off by kill -9, or glued to the next start's first line.
                continue


class Shop:
    """Orders keep coming: new affiliates who are owed money."""

    def __init__(self, place):
        self.place, self.affiliates = place, 0

    def sell(self, count):
        data = self.place.folder / "data"
        data.mkdir(exist_ok=True)
        (data / "programs.csv").write_text(
            "program,title,currency,hold_days,min_payout,auto_credit,auto_payout\n"
            "creator,Creator program,USD,30,50.00,true,true\n"
        )
        people = ["affiliate_id,program,partner_id,name,email,code,status,method,destination,method_status"]
        orders = ["commission_id,affiliate_id,order_id,order_amount,amount,currency,converted_at"]
        for i in range(self.affiliates, self.affiliates + count):
            mail = f"aff-{i:05}@example.com"
            people.append(
                f'aff-{i:05},creator,partner-{i},Name {i},{mail},CODE{i},active,paypal,'
                f'"{{""email"":""{mail}""}}",verified'
            )
            orders.append(f"c-{i:06},aff-{i:05},o-{i},999.99,{50 + i % 40}.{i % 100:02},USD,1997-03-01T12:00:00Z")
        (data / "affiliates.csv").write_text("\n".join(people) + "\n")
        (data / "commissions.csv").write_text("\n".join(orders) + "\n")
        done = self.place.run("import", "data", "--org", "acme", code=None)
        if done.returncode == 0:
            self.affiliates += count
        return done.returncode == 0


def worker_in_hand(place, replicas):
    """The replica whose run is running now, and is worth the most to be hit."""
    try:
        rows = place.rows("SELECT worker_id FROM job_runs WHERE state = 'running' ORDER BY started_at DESC")
    except (Failed, subprocess.TimeoutExpired):
        return None
    pids = {int(row["worker_id"].split(":")[1]) for row in rows if row["worker_id"]}
    hit = [one for one in replicas if one.process.pid in pids and one.process.poll() is None]
    return hit[0] if hit else None


def catch(place, replicas, dice, seconds=12):
    """Waits until some replica has a run in hand, to hit it in the middle."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        hit = worker_in_hand(place, replicas)
        if hit:
            return hit
        time.sleep(0.02)
    return dice.choice(replicas)


def kill(place, replicas, dice):
    hit = catch(place, replicas, dice)
    say(f"kill -9 {hit.name}")
    hit.signal(signal.SIGKILL)
    hit.process.wait()
    time.sleep(dice.uniform(0, 3))
    hit.start()


def freeze(place, replicas, dice):
    hit = catch(place, replicas, dice)
    seconds = LEASE_SECONDS + dice.uniform(2, 6)
    say(f"SIGSTOP {hit.name} for {seconds:.1f} s")
    hit.signal(signal.SIGSTOP)
    time.sleep(seconds)
    hit.signal(signal.SIGCONT)


def restart(place, replicas, dice):
    hit = catch(place, replicas, dice)
    say(f"SIGTERM {hit.name}")
    hit.signal(signal.SIGTERM)
    require(hit.ended(15) == 0, f"{hit.name} did not stop in order")
    hit.start()


def crash_database(place, replicas, dice):
    catch(place, replicas, dice)
    say("PostgreSQL crashes and comes back")
    done = subprocess.run([CRASH], capture_output=True, text=True, timeout=120)
    require(done.returncode == 0, done.stdout + done.stderr)


def outage(place, replicas, dice):
    seconds = EVERY_SECONDS * 2 + 5
    say(f"kill -9 of all of them, and nobody for {seconds} s")
    for one in replicas:
        one.signal(signal.SIGKILL)
        one.process.wait()
    time.sleep(seconds)
    for one in replicas:
        one.start()


def havoc(place, replicas, shop, seconds, dice):
    """One thing after the other goes wrong; the first round has each of them."""
    until = time.monotonic() + seconds
    acts = [kill, freeze, crash_database, restart, kill, freeze]
    done = collections.Counter()
    while time.monotonic() < until:
        shop.sell(3)
        act = acts.pop(0) if acts else dice.choice([kill, kill, freeze, freeze, restart, crash_database, outage])
        if act is outage and until - time.monotonic() < 60:
            act = kill
        act(place, replicas, dice)
        done[act.__name__] += 1
        time.sleep(dice.uniform(1, 4))
    return done


def quiet(place, replicas, seconds):
    """Everybody is there and nobody is hurt: what is open comes to its end."""
    until = time.monotonic() + seconds
    patient = time.monotonic() + 20
    open_ones = "status NOT IN ('completed', 'failed', 'cancelled', 'returned')"
    while time.monotonic() < until:
        time.sleep(2)
        left = place.rows(f"SELECT COUNT(*) AS n FROM payouts WHERE {open_ones}")[0]["n"]
        unpaid = place.rows("SELECT COUNT(*) AS n FROM wallets WHERE held_minor + available_minor + in_flight_minor > 0")[0]["n"]
        if left == 0 and unpaid == 0:
            return
        if time.monotonic() > patient:
            # What stayed unclear is asked about later and later; a person may ask at once.
            place.run("job", "run", "reconcile-transfers", "--now", code=None)
    rows = place.rows(f"SELECT * FROM payouts WHERE {open_ones}") + place.rows(
        "SELECT * FROM submissions WHERE state NOT IN ('accepted', 'refused') OR next_check_at IS NOT NULL")
    raise Failed(f"{left} payouts and {unpaid} wallets are still open after {seconds} s of quiet: {rows}")


def check_instants(place, story):
    """Each due instant has its one row, on record as what became of it."""
    rows = place.rows(
        "SELECT r.*, extract(epoch FROM r.scheduled_for)::bigint AS due, s.at AS seen_at,"
        " extract(epoch FROM s.at - r.scheduled_for) AS late"
        " FROM job_runs r JOIN soak_runs s ON s.run_id = r.run_id WHERE r.scheduled_for IS NOT NULL"
        " ORDER BY r.job_id, r.scheduled_for"
    )
    for job in JOBS:
        mine = [row for row in rows if row["job_id"] == job]
        instants = [row["due"] for row in mine]
        require(len(instants) > 4, f"{job} has hardly run")
        wanted = list(range(instants[0], instants[-1] + 1, EVERY_SECONDS))
        require(instants == wanted, f"{job}: instants {sorted(set(wanted) ^ set(instants))} are not one row each")
        for row in mine:
            last = row["due"] == instants[-1]
            require(row["state"] in ENDED or last, f"{row['run_id']} of {job} is {row['state']}")
            require(row["state"] != "skipped" or row["reason"], f"{row['run_id']} says no reason")
            require(row["state"] != "lost" or row["error_code"], f"{row['run_id']} says no reason")
            # No replica fires early, whatever its own clock says.
            require(row["late"] > -0.5, f"{row['run_id']} of {job} was queued {-row['late']:.1f} s early")
            require(row["trigger_kind"] != "schedule" or row["late"] < 62, f"{row['run_id']} is late")
        story[job] = dict(collections.Counter(row["state"] for row in mine))
        reasons = collections.Counter(row["reason"].split(":")[0] for row in mine if row["reason"])
        story[job].update({f"reason {word}": count for word, count in reasons.items()})


def check_attempts(place, story):
    """No attempt of a job began before the one before it was over, or had been taken away."""
    rows = place.rows(
        "SELECT job_id, run_id, attempt, state, extract(epoch FROM started_at) AS began,"
        " extract(epoch FROM finished_at) AS ended FROM ("
        " SELECT r.job_id, r.run_id, r.attempt, r.state, r.started_at, r.finished_at FROM job_runs r"
        " WHERE r.started_at IS NOT NULL AND r.state NOT IN ('queued', 'running')"
        " UNION ALL SELECT r.job_id, a.run_id, a.attempt, a.state, a.started_at, a.finished_at"
        " FROM job_run_attempts a JOIN job_runs r ON r.run_id = a.run_id) q ORDER BY job_id, began"
    )
    for one, other in zip(rows, rows[1:]):
        if one["job_id"] == other["job_id"]:
            require(one["ended"] <= other["began"] + 0.5, f"{one} and {other} ran at once")
    stray = place.rows("SELECT * FROM soak_stray")
    require(not stray, f"runs that did not run requested payouts: {stray}")
    story["attempts lost"] = sum(row["state"] == "lost" for row in rows)
    story["runs tried again"] = len({row["run_id"] for row in rows if row["attempt"] > 1})
    lost = [row for row in rows if row["state"] == "lost"]
    return lost


def check_money(place, shop, story):
    """Everybody who is owed money has it once, and both sides' books say so."""
    paid = collections.Counter()
    amount = 0
    for row in place.books():
        paid[row["recipient"]] += 1
        amount += round(float(row["amount"]) * 100)
    twice = [who for who, times in paid.items() if times > 1]
    require(not twice, f"paid twice: {twice}")
    require(len(paid) == shop.affiliates, f"{len(paid)} of {shop.affiliates} were paid")
    ours = place.rows("SELECT COUNT(*) AS n, SUM(amount_minor)::bigint AS sum FROM payouts WHERE status = 'completed'")[0]
    require((ours["n"], ours["sum"]) == (len(paid), amount), f"{ours} against {len(paid)}, {amount}")
    place.run("check")
    story["paid"] = f"{len(paid)} affiliates, {amount / 100:.2f} USD"


def read_logs(replicas, story):
    """What the replicas say of themselves: rescues, and writes that were refused."""
    events = collections.Counter()
    for one in replicas:
        for line in one.log():
            event = line.get("event")
            if event == "job.run.error" and line.get("error.code") == "lease_lost":
                events["fenced writes refused"] += 1
            if event == "job.run.finished" and line.get("outcome") in ("lost", "released", "cancelled"):
                events[f"finished as {line['outcome']}"] += 1
            if event in ("job.run.lost", "job.run.retry_scheduled", "job.look.failed", "scheduler.tick.failed",
                         "job.definition.drift", "daemon.drain.timed_out", "job.run.not_run"):
                events[event] += 1
    story["log"] = dict(events)
    require(events["job.definition.drift"] == 0, "replicas of one folder of jobs differ")


def soak(minutes, seed):
    folder = TARGET / "soak"
    place = Place(folder)
    dice = random.Random(seed)
    sandbox = None
    replicas = [Replica(place, "even", 0), Replica(place, "ahead", 600), Replica(place, "behind", -600)]
    try:
        with open(folder / "sandbox.log", "wb") as log:
            place.address = "127.0.0.1:0"
            sandbox = subprocess.Popen(
                [PAYOUTD, "sandbox", "--listen", "127.0.0.1:0"], cwd=folder,
                env=place.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        while "http://" not in (text := (folder / "sandbox.log").read_text()):
            require(sandbox.poll() is None, text)
            time.sleep(0.05)
        place.address = text.split("http://", 1)[1].split(" ", 1)[0]
        shop = Shop(place)
        place.run("db", "migrate")
        place.psql_at(place.database, WITNESS)
        require(shop.sell(20), "the first orders cannot be imported")
        # Sends take their time, so that they are in hand when something happens.
        place.fault(fault="slow", times=1_000_000, delay_ms=700)
        for one in replicas:
            one.start()
        time.sleep(2 * EVERY_SECONDS)
        for one in replicas:
            require(one.process.poll() is None, f"{one.name} ended")
        done = havoc(place, replicas, shop, minutes * 60, dice)
        say(f"it is quiet now, after {dict(done)}")
        quiet(place, replicas, 90)
        for one in replicas:
            one.signal(signal.SIGTERM)
        for one in replicas:
            require(one.ended(15) == 0, f"{one.name} did not stop in order")
        story = {"havoc": dict(done), "seed": seed}
        check_instants(place, story)
        check_attempts(place, story)
        check_money(place, shop, story)
        read_logs(replicas, story)
        say("it holds: " + json.dumps(story, indent=2))
    finally:
        for process in [one.process for one in replicas] + [sandbox]:
            if process and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=0.5, help="how long things go wrong")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="for the same story again")
    asked = parser.parse_args()
    say(f"seed {asked.seed}, {asked.minutes} minutes")
    try:
        soak(asked.minutes, asked.seed)
    except Failed as failed:
        sys.exit(f"replicas: {failed}; see {TARGET / 'soak'}")


if __name__ == "__main__":
    main()

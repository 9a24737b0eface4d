"""The sandbox's bank: payoutd pays by files into it, and its letters are held against the schemas
of ISO 20022 and against mock-bank's reader of NACHA returns.

usage: python sandbox_bank.py"""

import datetime
import subprocess

import program
from bank_payees import ELSEWHERE, NAMES, ach, settings, wire
from mockbank import nacha
from processes import CONTRACTS, folder_of
from program import Payoutd
from report import claim, claim_equal, run

SCHEMAS = CONTRACTS / "iso20022"
# No package holds pain.002.001.10; the nearest later one differs in its namespace alone.
NEAREST = {"pain.002.001.10": "pain.002.001.12"}


def objections(text, kind, folder):
    """What a schema finds wrong with a message; None if there is no schema of its kind."""
    schema = SCHEMAS / f"{NEAREST.get(kind, kind)}.xsd"
    if not schema.exists():
        return None
    path = folder / "held.xml"
    path.write_text(text.replace(kind, NEAREST.get(kind, kind)))
    command = ["xmllint", "--noout", "--nonet", "--schema", schema, path]
    linted = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return "" if linted.returncode == 0 else linted.stderr


def kind_of(text):
    """The kind of an ISO 20022 message, by its namespace."""
    return text.split("urn:iso:std:iso:20022:tech:xsd:", 1)[1].split('"', 1)[0]


def pay(payoutd, sandbox):
    """Payments of every fate, told as the days go."""
    print("payments of every fate")
    fates = {"accept": "completed", "reject": "failed", "return": "returned", "noc": "completed",
             "silent": "completed"}
    people = []
    for index, behaviour in enumerate(fates):
        account = f"7700{index}"
        asked = {"for": account, "behaviour": behaviour}
        if behaviour == "noc":
            asked |= {"code": "C01", "corrected": "123456"}
        sandbox.call("POST", "/_sandbox/bank/behaviours", asked)
        name, routing = NAMES[index], ELSEWHERE[index]
        people.append(ach(f"ach-{behaviour}", name, f"10.0{index}", routing, account))
        people.append(wire(f"wire-{behaviour}", name, f"20.0{index}", routing, account))
    payoutd.take_in(people)
    today = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    payoutd.request_all()
    payoutd.job("submit-transfers")
    for day in range(15):
        sandbox.call("POST", "/_sandbox/bank/scan")
        payoutd.set_clock(today + datetime.timedelta(days=day))
        payoutd.job("reconcile-transfers")
        sandbox.call("POST", "/_sandbox/bank/advance", {"days": 1})
    begin, end = today.date(), today.date() + datetime.timedelta(days=15)
    sandbox.call("POST", "/_sandbox/bank/statement", {"from": f"{begin}", "to": f"{end}"})
    payoutd.job("reconcile-transfers")
    found = {key: payout["status"] for key, payout in payoutd.payouts().items()}
    expected = {f"ach-{behaviour}": end for behaviour, end in fates.items()}
    expected |= {f"wire-{behaviour}": end for behaviour, end in fates.items()}
    # Silence settles no wire.
    expected["wire-silent"] = found["wire-silent"]
    claim_equal("each has its fate", found, expected)
    claim_equal("no invariant is broken", payoutd.breaches(), [])


def hold(letters, folder):
    """Every letter against its schema or its sums."""
    print("letters of the bank")
    kinds = set()
    for path in sorted(letters):
        text = path.read_text()
        if path.name.startswith("nacha.return"):
            kinds.add("NACHA return")
            *_, found = nacha.inspect(path.read_bytes())
            claim_equal(f"{path.name} reads back without a finding", found, [])
        elif "urn:iso:std:iso:20022" in text:
            kind = kind_of(text)
            kinds.add(kind)
            said = objections(text, kind, folder)
            if said is not None:
                claim_equal(f"{path.name} is a valid {kind}", said, "")
    wanted = {"NACHA return", "pain.002.001.10", "camt.054.001.08", "camt.053.001.08"}
    claim("there are letters of all kinds", wanted <= kinds, kinds)


def the_net_has_no_hole(letters, folder):
    """A letter that is broken must be refused."""
    print("the net itself")
    for path in letters:
        text = path.read_text()
        if "camt.054.001.08" in text:
            broken = text.replace("<Ntry>", "<Ntry><Odd/>", 1)
            claim("an unknown element is refused", objections(broken, kind_of(text), folder))
            break
    for path in letters:
        if path.name.startswith("nacha.return"):
            *_, found = nacha.inspect(path.read_bytes().replace(b"00000010", b"00000011", 1))
            claim("a wrong amount is refused", found)
            break


def check():
    folder = folder_of("sandbox-bank")
    payoutd = Payoutd(folder, settings(folder))
    words = ["--bank-outbox", folder / "outbox", "--bank-inbox", folder / "inbox"]
    with program.sandbox(folder, *words) as sandbox:
        pay(payoutd, sandbox)
        letters = [path for path in (folder / "archive/received").iterdir() if path.is_file()]
        hold(letters, folder)
        the_net_has_no_hole(letters, folder)


run(check)

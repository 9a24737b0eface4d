"""Days of a bank for both file rails: mock-bank picks our files up from a real directory and drops
its letters into another; at the end, its books are held against ours.

usage: python bank_days.py"""

import datetime
import shutil

from bank import bank
from bank_payees import (
    CLOSED, ELSEWHERE, MOCK_BANK, NAMES, NOWHERE, ach, open_accounts, settings, wire)
from processes import folder_of
from program import ORG, Payoutd
from report import claim, claim_equal, run

MONDAY = datetime.date(2026, 11, 23)
THANKSGIVING = "2026-11-26"


class Days:
    """payoutd and its bank, whose clocks go together."""

    def __init__(self, payoutd, bank, home):
        self.payoutd, self.bank, self.home = payoutd, bank, home
        self.day = MONDAY
        self.begin(MONDAY)

    def begin(self, day, ask=True):
        """The morning of `day`: what is due at the bank happens, then payoutd reads its inbox."""
        if day != MONDAY:
            self.bank.advance_to(day)
        self.day = day
        self.payoutd.set_clock(datetime.datetime.combine(day, datetime.time(14)))
        if ask:
            self.ask()

    def ask(self):
        """payoutd reads its letters, and settles by them; once more, so that nothing counts
        twice."""
        for _ in range(2):
            self.payoutd.job("reconcile-transfers")

    def send(self):
        """Everything requested is placed in the outbox."""
        self.payoutd.request_all()
        self.payoutd.job("submit-transfers")
        return self.lying()

    def lying(self):
        """The files that wait to be picked up."""
        return sorted(path for path in (self.home / "outbox").iterdir() if path.is_file())

    def pick_up(self):
        """The bank picks the files up, and payoutd hears what it says at once."""
        taken = self.bank.scan()
        self.ask()
        return taken

    def status(self):
        """The status of every payout."""
        return {key: payout["status"] for key, payout in self.payoutd.payouts().items()}

    def verified(self, key):
        """Whether an affiliate's method can be paid, as the gates say."""
        explained = self.payoutd.json("affiliate", "explain", key, "--org", ORG)
        gates = {gate["gate"]: gate["passed"]
                 for wallet in explained["wallets"] for gate in wallet["gates"]}
        return gates["method_unverified"]

    def reference(self, key):
        """Our reference of the last transfer of an affiliate's payout."""
        return self.payoutd.show(self.payoutd.payouts()[key])["transfers"][-1]["reference"]


def payees():
    """Both rails alike: payees of other banks, and one whose account is closed."""
    found = []
    for index in range(8):
        amount = f"{100 + index}.{index:02}"
        routing, name = ELSEWHERE[index % 5], NAMES[index]
        account = f"55500{index}"
        kind = "company" if index % 2 else "individual"
        found.append(ach(f"ach{index}", name, amount, routing, account, accountHolderType=kind))
        found.append(wire(f"wire{index}", name, amount, routing, account))
    found.append(ach("ach-closed", "Initech", "5.00", MOCK_BANK, CLOSED))
    found.append(wire("wire-closed", "Initech", "6.00", MOCK_BANK, CLOSED))
    found.append(ach("ach-nowhere", "Eurodis", "7.00", MOCK_BANK, NOWHERE))
    found.append(wire("wire-nowhere", "Eurodis", "8.00", MOCK_BANK, NOWHERE))
    return found


def the_bank_says_nothing(days):
    """A file that nobody picks up proves nothing, however long it lies there."""
    print("a bank that picks nothing up for a day")
    placed = days.send()
    claim("files of both rails are placed", {p.suffix for p in placed} == {".ach", ".xml"}, placed)
    claim_equal("every payout is on its way", set(days.status().values()), {"processing"})
    days.begin(MONDAY + datetime.timedelta(days=1))
    claim_equal("and stays so", set(days.status().values()), {"processing"})
    claim_equal("nothing is placed twice", days.send(), placed)


def accepted_and_refused(days):
    """The bank's word about each payment, and the bookings on the day of settlement."""
    print("accepted, refused, booked")
    # One of each rail will come back two business days after it settled.
    back = {"ach2": "ACME", "wire2": "GLOBEX"}
    for key, account in back.items():
        reason = "R03" if account == "ACME" else "AC04"
        days.bank.account(account, behaviour="return-later", parameters={
            "days": 2, "reason": reason, "end_to_end_id": days.reference(key)})
    taken = days.pick_up()
    claim("the bank takes every file", all(f["ok"] for f in taken), taken)
    after = days.status()
    refused = ["ach-closed", "wire-closed", "ach-nowhere", "wire-nowhere"]
    claim_equal("who has no account is refused", {key: after[key] for key in refused},
                {key: "failed" for key in refused})
    claim_equal("and is not paid to again",
                [key for key in refused if days.verified(key)], [])
    claim("nobody else is", "failed" not in {v for k, v in after.items() if k not in refused})
    days.begin(MONDAY + datetime.timedelta(days=2))
    booked = {key: status for key, status in days.status().items() if key not in refused}
    claim_equal("all others are booked", set(booked.values()), {"completed"})
    return back


def a_file_twice(days):
    """The bank gets a file again, says that it knows it, and nothing changes."""
    print("a file twice")
    before = days.status()
    for path in sorted((days.home / "archive/sent").iterdir()):
        if path.is_file() and path.suffix in (".ach", ".xml"):
            shutil.copy(path, days.home / "outbox" / f"again-{path.name}")
    taken = days.pick_up()
    claim("the bank refuses it", taken and not any(f["ok"] for f in taken), taken)
    claim_equal("no payout changes", days.status(), before)


def late_returns(days, back):
    """What settled comes back over a holiday and a weekend."""
    print("returned late")
    before = days.status()
    days.begin(datetime.date(2026, 11, 30))
    after = days.status()
    claim_equal("what came back is returned", {key: after[key] for key in back},
                {key: "returned" for key in back})
    claim("and not paid to again", not any(days.verified(key) for key in back))
    claim_equal("nobody else changed", {k: v for k, v in after.items() if k not in back},
                {k: v for k, v in before.items() if k not in back})


def statements(days):
    """The bank's statements so far agree with our books; one with a hole does not."""
    print("statements")
    found = days.payoutd.json("reconcile", "breaks", "--org", ORG)
    claim_equal("the statements and our books agree", found, [])
    days.bank.account("GLOBEX", behaviour="statement-gap", parameters={})
    days.payoutd.take_in([wire("wire-gap", "Zoë", "45.00", ELSEWHERE[3], "4")], "gap")
    days.send()
    days.pick_up()
    gap = days.reference("wire-gap")
    for _ in range(2):
        days.begin(days.day + datetime.timedelta(days=1))
    found = days.payoutd.json("reconcile", "breaks", "--org", ORG)
    claim_equal("what a statement leaves out is found, and nothing else",
                [(b["kind"], b["subject"], b["ours"]) for b in found],
                [("missing_there", gap, "45.00")])
    claim_equal("no money moved for that", days.status()["wire-gap"], "completed")


def a_silent_bank(days):
    """A bank that books and sends no acknowledgement."""
    print("a bank that acknowledges nothing")
    for account in ("ACME", "GLOBEX"):
        days.bank.account(account, behaviour="silent", parameters={})
    days.payoutd.take_in([
        ach("ach-silent", "Zoë", "50.00", ELSEWHERE[0], "1"),
        wire("wire-silent", "Zoë", "51.00", ELSEWHERE[0], "1"),
    ], "silent")
    days.send()
    days.pick_up()
    silent = ("ach-silent", "wire-silent")
    first = days.status()
    claim("silence is no refusal", all(first[key] in ("processing", "completed")
                                       for key in silent), first)
    for _ in range(8):
        days.begin(days.day + datetime.timedelta(days=1))
    claim_equal("a week later both are completed", [days.status()[key] for key in silent],
                ["completed", "completed"])


def no_letters(days):
    """A bank that tells nothing at all, for days: silence settles an ACH payment, and no wire."""
    print("no letters for days")
    for account in ("ACME", "GLOBEX"):
        days.bank.account(account, behaviour="accept", parameters={})
    mute = ("ach-mute", "wire-mute")
    days.payoutd.take_in([
        ach(mute[0], "Zoë", "70.00", ELSEWHERE[2], "3"),
        wire(mute[1], "Zoë", "71.00", ELSEWHERE[2], "3"),
    ], "mute")
    days.send()
    days.bank.scan()
    inbox, lost = days.home / "inbox", days.home / "lost"
    lost.mkdir()
    for _ in range(10):
        for letter in inbox.iterdir():
            letter.rename(lost / letter.name)
        days.begin(days.day + datetime.timedelta(days=1), ask=False)
        for letter in inbox.iterdir():
            letter.rename(lost / letter.name)
        days.ask()
    after = days.status()
    claim_equal("after ten days", [after[key] for key in mute], ["completed", "processing"])
    for letter in lost.iterdir():
        letter.rename(inbox / letter.name)
    days.ask()
    claim_equal("when the letters are found, the wire is completed too",
                [days.status()[key] for key in mute], ["completed", "completed"])


def a_file_refused_whole(days):
    """The bank refuses whole files: nothing was paid, and it is our fault, not the payees'."""
    print("whole files refused")
    for account in ("ACME", "GLOBEX"):
        days.bank.account(account, behaviour="reject-file", parameters={})
    days.payoutd.take_in([
        ach("ach-whole", "Zoë", "60.00", ELSEWHERE[1], "2"),
        wire("wire-whole", "Zoë", "61.00", ELSEWHERE[1], "2"),
    ], "whole")
    days.send()
    days.pick_up()
    days.begin(days.day + datetime.timedelta(days=1))
    after = days.status()
    whole = ("ach-whole", "wire-whole")
    claim_equal("both payouts failed", [after[key] for key in whole], ["failed", "failed"])
    claim("the payees are as good as before", all(days.verified(key) for key in whole))


def too_little_money(days):
    """The bank refuses what our account does not cover: our fault, not the payees'."""
    print("too little money")
    for account in ("ACME", "GLOBEX"):
        days.bank.account(account, behaviour="insufficient-funds", balance=10_000,
                          parameters={})
    days.payoutd.take_in([
        ach("ach-poor", "Zoë", "90.00", ELSEWHERE[4], "5"),
        ach("ach-poorer", "Zoë", "91.00", ELSEWHERE[4], "6"),
        wire("wire-poor", "Zoë", "92.00", ELSEWHERE[4], "5"),
        wire("wire-poorer", "Zoë", "93.00", ELSEWHERE[4], "6"),
    ], "poor")
    days.send()
    days.pick_up()
    days.begin(days.day + datetime.timedelta(days=1))
    days.begin(days.day + datetime.timedelta(days=1))
    poor = ["ach-poor", "ach-poorer", "wire-poor", "wire-poorer"]
    after = days.status()
    for rail in ("ach", "wire"):
        ends = sorted(after[key] for key in poor if key.startswith(rail))
        claim_equal(f"one by {rail} is paid, one is not", ends, ["completed", "failed"])
    claim("the payees are as good as before", all(days.verified(key) for key in poor))


def books_against_books(days):
    """What the bank has on its books is what we have on ours."""
    print("books against books")
    theirs = days.bank.payments()
    ours = {days.payoutd.show(payout)["transfers"][-1]["reference"]: payout
            for payout in days.payoutd.all_payouts()}

    def state(payments):
        """What a payment's payout must be. The bank keeps nothing of a file refused whole."""
        if not payments or payments[0]["status"] == "rejected":
            return "failed"
        if payments[0]["returned_at"]:
            return "returned"
        return "completed" if payments[0]["booked_at"] else "processing"

    claim_equal("no payment is on the bank's books twice",
                [key for key, payments in theirs.items() if len(payments) > 1], [])
    claim_equal("each payout stands as its payment does",
                {key: payout["status"] for key, payout in ours.items()},
                {key: state(theirs.get(key)) for key in ours})
    claim_equal("each payment has its payout's amount",
                {key: payments[0]["amount"] for key, payments in theirs.items()},
                {key: int(ours[key]["amount"].replace(".", "")) for key in theirs})
    claim("the bank has no payment that we have not", set(theirs) <= set(ours),
          set(theirs) - set(ours))
    claim_equal("no invariant is broken", days.payoutd.breaches(), [])
    left = [path.name for path in (days.home / "inbox").iterdir() if path.is_file()]
    claim_equal("no letter was left unread", left, [])
    unreadable = days.home / "archive/unreadable"
    odd = [path.name for path in unreadable.iterdir()] if unreadable.exists() else []
    claim_equal("no letter was unreadable", odd, [])


def check():
    home = folder_of("bank-days")
    payoutd = Payoutd(home, settings(home))
    with bank(home, f"{MONDAY}T09:00", home / "outbox", home / "inbox") as counter:
        open_accounts(counter)
        counter.call("PUT", "/_mock/holidays", [THANKSGIVING])
        payoutd.take_in(payees())
        days = Days(payoutd, counter, home)
        the_bank_says_nothing(days)
        back = accepted_and_refused(days)
        a_file_twice(days)
        late_returns(days, back)
        statements(days)
        a_silent_bank(days)
        no_letters(days)
        too_little_money(days)
        a_file_refused_whole(days)
        books_against_books(days)


run(check)

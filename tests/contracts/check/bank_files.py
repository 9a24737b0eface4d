"""The files that payoutd writes for banks, before validators that others wrote.

usage: python bank_files.py"""

import datetime

from bank import bank, objections_to_nacha, objections_to_pain
from bank_payees import (
    AMOUNTS, CLOSED, ELSEWHERE, MOCK_BANK, NAMES, ach, open_accounts, settings, wire)
from processes import folder_of
from program import Payoutd
from report import claim, claim_equal, run

MONDAY = datetime.datetime(2026, 11, 23, 14)
HOLDERS = ["individual", "company", "business"]
ACCOUNTS = ["1", "12345678901234567", "000123", "A-12_b", "77788899"]


def payees():
    """Names, amounts, accounts and kinds of holder, each with each other kind of thing."""
    found = []
    for index in range(60):
        name, amount = NAMES[index % len(NAMES)], AMOUNTS[index % len(AMOUNTS)]
        routing, account = ELSEWHERE[index % 5], ACCOUNTS[index % len(ACCOUNTS)]
        found.append(ach(
            f"h{index:03}", name, amount, routing, account,
            accountType="savings" if index % 7 == 0 else "checking",
            accountHolderType=HOLDERS[index % 3]))
        address = {"street": "Rue de l'Été", "buildingNumber": "7 bis", "postalCode": "83702",
                   "state": "ID"} if index % 2 else {}
        found.append(wire(f"e{index:03}", name, amount, routing, account, **address))
    found.append(ach("closed", "Initech", "5.00", MOCK_BANK, CLOSED))
    found.append(wire("most", "Largest of all", "9999999999.99", ELSEWHERE[0], "1"))
    return found


def files_of(folder, name, more):
    """What payoutd places in its outboxes for all payees, under some settings."""
    home = folder / name
    home.mkdir()
    payoutd = Payoutd(home, settings(home, **more))
    payoutd.set_clock(MONDAY)
    who = payees()
    # One cent more than a NACHA entry can hold, and than Fedwire takes.
    too_much = [ach("more-ach", "Zoë", "100000000.00", ELSEWHERE[0], "1"),
                wire("more-wire", "Zoë", "10000000000.00", ELSEWHERE[0], "1")]
    payoutd.take_in([*who, *too_much])
    payoutd.request_all()
    for _ in range(2):
        payoutd.job("submit-transfers")
    claim_equal("no invariant is broken", payoutd.breaches(), [])
    placed = sorted((home / "outbox").iterdir())
    states = {key: payout["status"] for key, payout in payoutd.payouts().items()}
    claim_equal("more than a rail can carry is refused",
                [states.pop(payee.affiliate_id) for payee in too_much], ["failed", "failed"])
    claim_equal("every other payout is on its way", set(states.values()), {"processing"})
    return placed, len(who)


def judge(bank, folder, name, more, without=()):
    """Every file of these settings is taken by every oracle but those `without` which."""
    print(name)
    placed, count = files_of(folder, name, more)
    nacha = [path for path in placed if path.suffix == ".ach"]
    pain = [path for path in placed if path.suffix == ".xml"]
    claim("there are files of both rails", nacha and pain, placed)
    entries = sum(line.startswith(b"6") for path in nacha
                  for line in path.read_bytes().splitlines())
    wired = sum(path.read_text().count("<CdtTrfTxInf>") for path in pain)
    claim("everybody is in one of them", entries + wired >= count, (entries, wired, count))
    for path in nacha:
        said = objections_to_nacha(bank, path.read_bytes())
        said = {oracle: words for oracle, words in said.items() if oracle not in without}
        takers = [o for o in ("mock-bank", "achlens", "achkit") if o not in without]
        claim_equal(f"{path.name} is taken by {', '.join(takers)}", said, {})
    for path in pain:
        claim_equal(f"{path.name} is valid and taken by mock-bank",
                    objections_to_pain(bank, path), {})
    return nacha, pain


# Columns whose digits say something about the rest of the file, by record: one wrong digit in any
# of them must be noticed by somebody.
TELLING = {
    "1": [(2, 3), (5, 13), (35, 40)],
    "5": [(2, 4), (41, 50), (80, 94)],
    "6": [(2, 3), (4, 12), (30, 39), (79, 79)],
    "8": [(2, 54), (80, 94)],
    "9": [(2, 55)],
}


def mutants(file):
    """The file with one character changed, for each telling column of each record's first line."""
    lines = file.decode().splitlines(keepends=True)
    for record, ranges in TELLING.items():
        number = next(n for n, line in enumerate(lines) if line.startswith(record))
        line = lines[number]
        for column in (c for first, last in ranges for c in range(first, last + 1)):
            old = line[column - 1]
            new = "1" if old == "0" else "0" if old.isdigit() else "?"
            changed = line[:column - 1] + new + line[column:]
            yield record, column, "".join(lines[:number] + [changed] + lines[number + 1:]).encode()


def the_net_has_no_hole(bank, folder, nacha, pain):
    """A file with one wrong character must be refused by somebody."""
    print("the net itself")
    missed = [(record, column) for record, column, mutant in mutants(nacha.read_bytes())
              if not objections_to_nacha(bank, mutant)]
    claim_equal("every NACHA file with one wrong digit is refused by somebody", missed, [])
    text = pain.read_text()
    for what, old, new, oracle in [
        ("a count that is no number", "<NbOfTxs>", "<NbOfTxs>x", "xmllint"),
        ("a wrong count", "<NbOfTxs>", "<NbOfTxs>9", "mock-bank"),
        ("a wrong sum", "<CtrlSum>", "<CtrlSum>9", "mock-bank"),
        ("an unknown element", "<GrpHdr>", "<GrpHdr><Odd/>", "xmllint"),
        ("a country that is none", "<Ctry>US", "<Ctry>usa", "xmllint"),
    ]:
        broken = folder / "broken.xml"
        broken.write_text(text.replace(old, new, 1))
        claim(f"a pain.001 with {what} is refused",
              old in text and oracle in objections_to_pain(bank, broken))


def check():
    folder = folder_of("bank-files")
    with bank(folder, f"{MONDAY:%Y-%m-%dT%H:%M}") as oracle:
        open_accounts(oracle)
        nacha, pain = judge(oracle, folder, "as shipped", {})
        judge(oracle, folder, "same day, hybrid address, small files", {
            "providers.ach.same_day": "true", "providers.wire.address": "hybrid",
            "providers.ach.batch_size": "7", "providers.wire.batch_size": "7",
            "providers.ach.company_name": "Cafe & Sons",
            "providers.wire.debtor_name": "Café Ünïcode & Söhne <1>"})
        # mock-bank takes no file that moves money both ways.
        judge(oracle, folder, "balanced by an offset", {
            "providers.ach.offset_routing": MOCK_BANK,
            "providers.ach.offset_account": "0000000001"}, without=["mock-bank"])
        the_net_has_no_hole(oracle, folder, nacha[0], pain[0])


run(check)

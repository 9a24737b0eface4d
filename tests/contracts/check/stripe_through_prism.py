"""payoutd pays through Stripe's specification into the sandbox: whole cycles by its own commands,
with every request and every answer held against the specification by Prism.

usage: python stripe_through_prism.py"""

import json
import urllib.parse
from collections import Counter

from prism import ask, liar, prism
from processes import CONTRACTS
from program import Payee
from report import claim, claim_equal, run
from stage import LARGEST, NAMES, stage

SPECIFICATION = CONTRACTS / "stripe/stripe-transfers.openapi.json"
METHOD = "stripe-connect"


def payees():
    """Everybody who is to be paid, and what must become of it."""
    found = {}

    def add(currency, amount, account, end="completed"):
        affiliate_id = f"s{len(found):03}"
        name = NAMES[len(found) % len(NAMES)]
        payee = Payee(affiliate_id, name, currency, amount, METHOD, {"account": account})
        found[affiliate_id] = (payee, end)

    for index in range(30):
        cents = 1 + index * index * 131
        add("USD", f"{cents // 100}.{cents % 100:02}", f"acct_1Usd{index:03}")
    add("EUR", "0.01", "acct_1Eur000")
    add("EUR", "1234567.89", "acct_1Eur001")
    add("JPY", "1", "acct_1Jpy000")
    add("JPY", "9999999999", "acct_1Jpy001")
    add("KWD", "1.230", "acct_1Kwd000")
    # Stripe takes two of the dinar's three digits, and of the forint whole ones alone.
    add("KWD", "1.234", "acct_1Kwd001", "failed")
    add("HUF", "1500.00", "acct_1Huf000")
    add("HUF", "0.01", "acct_1Huf001", "failed")
    # Stripe counts the shilling in hundredths, and the ariary in whole ones.
    add("UGX", "500", "acct_1Ugx000")
    add("MGA", "12.00", "acct_1Mga000")
    add("MGA", "12.01", "acct_1Mga001", "failed")
    add("USD", "10.00", "acct_1inactive", "failed")
    add("USD", "11.00", "acct_1closed", "failed")
    for currency, amount in LARGEST.items():
        add(currency, amount, f"acct_1Most{currency}")
    return found


def cycle(stage):
    """Pays everybody, and holds our end against the sandbox's books."""
    print("a cycle over many currencies")
    who = payees()
    # A balance without a currency is a balance without money in it.
    for currency in ("UGX", "MGA"):
        stage.sandbox.call("POST", "/_sandbox/funds",
                           {"provider": "stripe", "currency": currency, "amount": "1000"})
    payoutd = stage.payoutd("cycle")
    payoutd.take_in([payee for payee, _ in who.values()])
    requested = payoutd.request_all()
    claim_equal("everybody's payout is requested", requested["counts"]["acted"], len(who))
    for _ in range(2):
        payoutd.job("submit-transfers")
        payoutd.job("reconcile-transfers")
    payouts = payoutd.payouts()
    claim_equal("every payout ended as it had to",
                {key: payout["status"] for key, payout in payouts.items()},
                {key: end for key, (_, end) in who.items()})
    paid = Counter(
        (who[key][0].destination["account"], payout["currency"], payout["amount"])
        for key, payout in payouts.items() if payout["status"] == "completed")
    books = stage.sandbox.books("stripe")
    arrived = Counter((row["recipient"], row["currency"], row["amount"]) for row in books)
    claim_equal("what is completed here arrived there, once, to the last digit",
                dict(paid), dict(arrived))
    references = {payoutd.show(payouts[key])["transfers"][-1]["reference"]
                  for key in ("s000", "s001", "s002")}
    claim("a transfer's group is our reference",
          references <= {row["reference"] for row in books}, references)
    claim_equal("no invariant is broken", payoutd.breaches(), [])
    return payoutd


def money_comes_back(stage, payoutd):
    """Reversals after completion, in full and in part."""
    print("money that comes back")
    payouts = payoutd.payouts()
    for key, body in [("s003", None), ("s004", {"amount": "0.01"})]:
        reference = payoutd.show(payouts[key])["transfers"][-1]["reference"]
        stage.sandbox.call("POST", f"/_sandbox/stripe/transfers/{reference}/reverse", body)
    payoutd.job("reconcile-transfers")
    after = payoutd.payouts()
    claim_equal("what was reversed in full is returned", after["s003"]["status"], "returned")
    claim_equal("what was reversed in part stays completed", after["s004"]["status"], "completed")
    claim_equal("nobody else changed",
                {k: v["status"] for k, v in after.items() if k != "s003"},
                {k: v["status"] for k, v in payouts.items() if k != "s003"})
    claim_equal("no invariant is broken", payoutd.breaches(), [])


def trouble(stage):
    """Throttled and failing calls: each is paid once all the same."""
    print("calls that go wrong")
    send, read, gate = "POST /v1/transfers", "GET /v1/transfers*", "GET /v1/accounts/*"
    faults = [("throttle", send), ("error_before", send), ("error_after", send),
              ("error_before", read), ("throttle", read), ("error_before", gate)]
    payoutd = stage.payoutd("trouble")
    accounts = [f"acct_1Trouble{index}" for index in range(len(faults))]
    payoutd.take_in([
        Payee(f"t{index}", NAMES[index], "USD", f"10.0{index}", METHOD, {"account": account})
        for index, account in enumerate(accounts)])
    for fault, on in faults:
        stage.sandbox.fault(on=on, fault=fault)
    payoutd.request_all()
    for _ in range(4):
        payoutd.job("submit-transfers")
        payoutd.job("reconcile-transfers")
    ours = Counter(payout["status"] for payout in payoutd.payouts().values())
    rows = Counter(row["recipient"] for row in stage.sandbox.books("stripe")
                   if row["recipient"] in accounts)
    claim("nobody is on the books twice", set(rows.values()) == {1}, rows)
    claim("nothing failed for a call that went wrong", not ours["failed"], ours)
    # A 500 from before the effect is the key's answer for a day: it may be open still.
    claim("all but that one arrived", ours["completed"] >= len(faults) - 1, ours)
    claim_equal("whoever is completed here is on the books there",
                ours["completed"], sum(rows.values()))
    claim_equal("no invariant is broken", payoutd.breaches(), [])


def too_little_money(stage):
    """A balance that is too small is the program's problem: the payouts wait."""
    print("too little money")
    funds = {"provider": "stripe", "currency": "NOK"}
    stage.sandbox.call("POST", "/_sandbox/funds", {**funds, "amount": "10.00"})
    payoutd = stage.payoutd("funds")
    payoutd.take_in([Payee(f"f{index}", "Nok", "NOK", "7.00", METHOD,
                           {"account": f"acct_1Nok{index}"}) for index in range(3)])
    payoutd.request_all()
    payoutd.job("submit-transfers")
    payoutd.job("reconcile-transfers")
    ours = Counter(payout["status"] for payout in payoutd.payouts().values())
    claim("one is paid, and nobody failed", ours["completed"] == 1 and not ours["failed"], ours)
    stage.sandbox.call("POST", "/_sandbox/funds", {**funds, "amount": "1000.00"})
    for _ in range(2):
        payoutd.job("submit-transfers")
        payoutd.job("reconcile-transfers")
    ours = Counter(payout["status"] for payout in payoutd.payouts().values())
    claim_equal("with money there, everybody is paid", dict(ours), {"completed": 3})
    rows = [row for row in stage.sandbox.books("stripe") if row["currency"] == "NOK"]
    claim_equal("once", len(rows), 3)
    claim_equal("no invariant is broken", payoutd.breaches(), [])


def parameters(stage):
    """Prism does not notice form parameters that the specification does not have."""
    operation = json.loads(SPECIFICATION.read_text())["paths"]["/v1/transfers"]["post"]
    form = operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    posts = [e.sent.decode() for e in stage.front.exchanges
             if (e.method, e.path) == ("POST", "/v1/transfers")]
    sent = {name.split("[")[0] for body in posts
            for name, _ in urllib.parse.parse_qsl(body, strict_parsing=True)}
    claim("every parameter that was sent is one of Stripe's",
          sent and sent <= set(form["properties"]), sent - set(form["properties"]))


def the_net_has_no_hole(stage):
    """Prism must object to what is wrong: a check that cannot fail checks nothing."""
    print("the net itself")
    headers = {"authorization": "Bearer sk_test_contract",
               "content-type": "application/x-www-form-urlencoded"}
    for what, body in {
        "no destination": "amount=100&currency=usd",
        "a fraction of a unit": "amount=1.5&currency=usd&destination=acct_1",
        "an unknown kind of source": "amount=1&currency=usd&destination=acct_1&source_type=gold",
    }.items():
        status, answer = ask(stage.prism, "POST", "/v1/transfers", body, headers)
        claim(f"a request with {what} is refused", status == 422 and "prism" in answer, answer)
    body = "amount=100&currency=usd&destination=acct_1"
    lie = {"id": "tr_1", "object": "transfer", "amount": "1.00"}
    with liar(200, lie) as upstream, prism(
            SPECIFICATION, upstream, stage.folder / "liar.log") as net:
        status, answer = ask(net, "POST", "/v1/transfers", body, headers)
        claim("an answer of the wrong shape is refused",
              status == 500 and "#VIOLATIONS" in answer, json.dumps(answer))


def check():
    credentials = {"secret_key": "sk_test_contract"}
    with stage("stripe-through-prism", SPECIFICATION, "stripe", credentials) as here:
        payoutd = cycle(here)
        money_comes_back(here, payoutd)
        trouble(here)
        too_little_money(here)
        claim_equal("Prism had nothing to object to in any request or answer",
                    here.front.violations(), [])
        parameters(here)
        the_net_has_no_hole(here)


run(check)

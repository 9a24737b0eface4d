"""payoutd pays through PayPal's specification into the sandbox: whole cycles by its own commands,
with every request and every answer held against the specification by Prism.

usage: python paypal_through_prism.py"""

import datetime
import json
from collections import Counter

from prism import ask, liar, prism
from processes import CONTRACTS
from program import Payee
from report import claim, claim_equal, run
from stage import LARGEST, NAMES, stage

PAYOUTS = CONTRACTS / "paypal/payments_payouts_batch_v1.json"
SUCCESS = "completed"


def payees():
    """Everybody who is to be paid, and what must become of it."""
    found = {}

    def add(name, currency, amount, email, end=SUCCESS):
        affiliate_id = f"a{len(found):03}"
        payee = Payee(affiliate_id, name, currency, amount, "paypal", {"email": email})
        found[affiliate_id] = (payee, end)

    for index in range(120):
        cents = 1 + index * index * 97
        name = NAMES[index % len(NAMES)]
        add(name, "USD", f"{cents // 100}.{cents % 100:02}", f"payee+{index}@example.com")
    add("Locked out", "USD", "12.34", "locked@example.com", "failed")
    add("Refused by PayPal", "USD", "77.00", "refused@example.com", "failed")
    add("Not yet at PayPal", "USD", "5.05", "unregistered@example.com", "processing")
    add("Local part in ÜTF-8", "EUR", "0.01", "zoë.ångström@例え.テスト")
    add("Longest address", "EUR", "19.99", "l" * 115 + "@example.com")
    add("Quotes", "EUR", "1234567.89", "\"o'hara\\\"@example.com")
    for amount in ("1", "12", "500000", "9999999999"):
        add("山田 太郎", "JPY", amount, f"yen{amount}@example.jp")
    for amount in ("0.001", "1.234", "999.999", "1000000.000"):
        add("محمد علي", "KWD", amount, f"fils{amount}@example.kw")
    for currency, amount in LARGEST.items():
        add("Largest of all", currency, amount, f"largest.{currency.lower()}@example.com")
    return found


def cycle(stage):
    """Pays everybody, over many small pages, and holds our end against the sandbox's books."""
    print("a cycle over seven currencies")
    who = payees()
    payoutd = stage.payoutd("cycle", {"batch_size": "40", "page_size": "7"})
    payoutd.take_in([payee for payee, _ in who.values()])
    requested = payoutd.request_all()
    claim_equal("everybody's payout is requested", requested["counts"]["acted"], len(who))
    # The first refusal names who is refused; the rest of that batch leaves in a new one.
    for _ in range(3):
        payoutd.job("submit-transfers")
        payoutd.job("reconcile-transfers")
    payouts = payoutd.payouts()
    claim_equal("every payout ended as it had to",
                {key: payout["status"] for key, payout in payouts.items()},
                {key: end for key, (_, end) in who.items()})
    paid = Counter(
        (who[key][0].destination["email"], payout["currency"], payout["amount"])
        for key, payout in payouts.items() if payout["status"] == SUCCESS)
    books = stage.sandbox.books("paypal")
    arrived = Counter((r["recipient"], r["currency"], r["amount"])
                      for r in books if r["status"] == "SUCCESS")
    claim_equal("what is completed here arrived there, once, to the last digit",
                dict(paid), dict(arrived))
    claim_equal("the amounts are those that were earned",
                {key: payout["amount"] for key, payout in payouts.items()},
                {key: payee.amount for key, (payee, _) in who.items()})
    sample = payoutd.show(payouts["a007"])["transfers"][-1]
    claim("a payout's reference is the one on the sandbox's books",
          sample["reference"] in {row["reference"] for row in books}, sample)
    claim("look-ups went from page to page", pages_beyond_the_first(stage) > 10)
    claim_equal("no invariant is broken", payoutd.breaches(), [])
    return payoutd, who


def money_comes_back(stage, payoutd, who):
    """REFUNDED and REVERSED after completion, RETURNED instead of it."""
    print("money that comes back")
    payouts = payoutd.payouts()
    fates = {"a001": "REFUNDED", "a002": "REVERSED", "a003": "RETURNED"}
    unclaimed = next(key for key, (_, end) in who.items() if end == "processing")
    fates[unclaimed] = "RETURNED"
    for affiliate_id, status in fates.items():
        reference = payoutd.show(payouts[affiliate_id])["transfers"][-1]["reference"]
        stage.sandbox.call("POST", f"/_sandbox/items/{reference}", {"status": status})
    payoutd.job("reconcile-transfers")
    after = payoutd.payouts()
    claim_equal("what came back after completion is returned",
                [after[key]["status"] for key in ("a001", "a002", "a003")], ["returned"] * 3)
    claim_equal("what came back before anybody took it is failed",
                after[unclaimed]["status"], "failed")
    claim_equal("nobody else changed",
                {k: v["status"] for k, v in after.items() if k not in fates},
                {k: v["status"] for k, v in payouts.items() if k not in fates})
    claim_equal("no invariant is broken", payoutd.breaches(), [])


def called_off(stage):
    """What nobody took is called off after the days that were set, and not before."""
    print("money that nobody takes")
    payoutd = stage.payoutd("called-off", {"call_off_unclaimed_days": "3"})
    email = "unregistered.for.days@example.com"
    payoutd.take_in([Payee("u1", "Zoë", "USD", "10.00", "paypal", {"email": email})])
    payoutd.request_all()
    today = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    for days, status, fate in [(0, "processing", "UNCLAIMED"), (2, "processing", "UNCLAIMED"),
                               (4, "failed", "RETURNED")]:
        payoutd.set_clock(today + datetime.timedelta(days=days))
        payoutd.job("submit-transfers")
        for _ in range(2):
            payoutd.job("reconcile-transfers")
        claim_equal(f"after {days} days",
                    (payoutd.payouts()["u1"]["status"], _on_books(stage, email)[0]["status"]),
                    (status, fate))
    claim_equal("it was called off once",
                stage.front.count("POST", "/v1/payments/payouts-item/"), 1)
    claim_equal("no invariant is broken", payoutd.breaches(), [])


def trouble(stage):
    """Throttled, failing and slow calls: each is paid once all the same."""
    print("calls that go wrong")
    batch, page = "POST /v1/payments/payouts", "GET /v1/payments/payouts/*"
    faults = [
        ("throttle", batch), ("error_before", batch), ("error_after", batch),
        ("error_before", page), ("throttle", page), ("denied", batch), ("unclaimed", batch),
    ]
    payoutd = stage.payoutd("trouble", {"batch_size": "1"})
    people = [Payee(f"t{index}", NAMES[index], "USD", f"10.0{index}", "paypal",
                    {"email": f"trouble{index}@example.com"}) for index in range(len(faults))]
    payoutd.take_in(people)
    for fault, on in faults:
        stage.sandbox.fault(on=on, fault=fault)
    payoutd.request_all()
    for _ in range(4):
        payoutd.job("submit-transfers")
        payoutd.job("reconcile-transfers")
    ours = Counter(payout["status"] for payout in payoutd.payouts().values())
    claim_equal("one was denied, one is unclaimed, the others arrived",
                dict(ours), {"completed": 5, "failed": 1, "processing": 1})
    rows = [r for r in stage.sandbox.books("paypal") if r["recipient"].startswith("trouble")]
    claim_equal("nobody is on the books twice", len({r["recipient"] for r in rows}), len(rows))
    claim_equal("as many arrived there as are completed here",
                sum(r["status"] == "SUCCESS" for r in rows), 5)
    claim_equal("no invariant is broken", payoutd.breaches(), [])


# What PayPal's test values stand for, and where they leave the transfer: what is about us waits to
# be sent again, what is unclear is never sent blindly, what is about the payment is rejected.
TEST_VALUES = {
    "ERRPYO001": "prepared", "ERRPYO002": "prepared", "ERRPYO003": "prepared",
    "ERRPYO005": "prepared", "ERRPYO006": "unknown", "ERRPYO010": "rejected",
    "ERRPYO011": "prepared", "ERRPYO012": "prepared", "ERRPYO014": "unknown",
    "ERRPYO035": "prepared", "ERRPYO036": "unknown", "ERRPYO037": "rejected",
    "ERRPYO038": "prepared", "ERRPYO039": "unknown",
}


def test_values(stage):
    """PayPal's own test values for refusals."""
    print("PayPal's test values")
    for note, end in TEST_VALUES.items():
        payoutd = stage.payoutd(note, {"note": note})
        email = f"{note.lower()}@example.com"
        payoutd.take_in([Payee("a1", "Zoë", "USD", "10.00", "paypal", {"email": email})])
        payoutd.request_all()
        payoutd.job("submit-transfers")
        payoutd.job("reconcile-transfers")
        transfer = payoutd.show(payoutd.payouts()["a1"])["transfers"][-1]
        claim(f"{note} leaves the transfer {end}", transfer["state"] == end, transfer)
        claim(f"{note} paid nothing and broke nothing",
              not payoutd.breaches() and not _on_books(stage, email))


def _on_books(stage, email):
    return [row for row in stage.sandbox.books("paypal") if row["recipient"] == email]


def the_net_has_no_hole(stage):
    """Prism must object to what is wrong: a check that cannot fail checks nothing."""
    print("the net itself")
    token = json.loads(ask(
        stage.sandbox.address, "POST", "/v1/oauth2/token", "grant_type=client_credentials",
        {"authorization": "Basic YTpi"})[1])["access_token"]
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    item = {"recipient_type": "EMAIL", "receiver": "a@example.com",
            "amount": {"value": "1.00", "currency": "USD"}}
    wrong = {
        "an amount that is a number": {**item, "amount": {"value": 1.0, "currency": "USD"}},
        "too long an item id": {**item, "sender_item_id": "X" * 64},
        "no receiver": {key: value for key, value in item.items() if key != "receiver"},
    }
    path = "/v1/payments/payouts"
    for what, broken in wrong.items():
        body = json.dumps({"sender_batch_header": {"sender_batch_id": "NET"}, "items": [broken]})
        status, answer = ask(stage.prism, "POST", path, body, headers)
        claim(f"a request with {what} is refused", status == 422 and "prism" in answer, answer)
    body = json.dumps({"sender_batch_header": {"sender_batch_id": "NET"}, "items": [item]})
    lie = {"batch_header": {"payout_batch_id": 7, "batch_status": "DONE"}}
    with liar(201, lie) as upstream, prism(PAYOUTS, upstream, stage.folder / "liar.log") as net:
        status, answer = ask(net, "POST", path, body, headers)
        claim("an answer of the wrong shape is refused",
              status == 500 and "#VIOLATIONS" in answer, answer)


def pages_beyond_the_first(stage):
    """How many look-ups asked for a later page."""
    return sum("page=" in e.path and "page=1&" not in e.path + "&"
               for e in stage.front.exchanges if e.method == "GET")


def check():
    credentials = {"client_id": "an-id", "client_secret": "a-secret"}
    direct = ("/v1/oauth2/",)
    with stage("paypal-through-prism", PAYOUTS, "paypal", credentials, direct) as here:
        payoutd, who = cycle(here)
        money_comes_back(here, payoutd, who)
        called_off(here)
        trouble(here)
        test_values(here)
        claim_equal("Prism had nothing to object to in any request or answer",
                    here.front.violations(), [])
        the_net_has_no_hole(here)


run(check)

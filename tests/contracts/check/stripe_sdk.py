"""Stripe's own SDK as a client of the sandbox, through Stripe's specification.

usage: python stripe_sdk.py"""

import program
import stripe
from prism import prism, router
from processes import CONTRACTS, folder_of
from report import claim, claim_equal, run

SPECIFICATION = CONTRACTS / "stripe/stripe-transfers.openapi.json"


def stripe_of(key, url):
    """A client that calls `url`, and each call once."""
    return stripe.StripeClient(key, base_addresses={"api": url}, max_network_retries=0)


def refusal(call, *words, **more):
    """The SDK's error that a call must meet: its class, status and code."""
    try:
        call(*words, **more)
    except stripe.StripeError as error:
        return type(error).__name__, error.http_status, error.code
    return None


def ask(group, **more):
    """A transfer of 12.34 dollars with everything that one may say about it."""
    return {
        "amount": 1234, "currency": "usd", "destination": "acct_1Zoë", "transfer_group": group,
        "description": "Grüße, 你好 & mehr", "metadata": {"org_id": "contract-org", "naïve": "ja"},
        **more,
    }


def create_and_read(transfers):
    """A transfer from its making to the lists it is in."""
    made = transfers.create(ask("G1"), {"idempotency_key": "G1-1"})
    claim("a transfer is made", made.id.startswith("tr_") and not made.reversed, made)
    claim_equal("of the amount that was asked",
                (made.amount, made.currency, made.destination), (1234, "usd", "acct_1Zoë"))
    read = transfers.retrieve(made.id)
    claim_equal("it reads back as it was made", read.to_dict(), made.to_dict())
    claim_equal("with its texts", (read.description, read.metadata.to_dict()),
                ("Grüße, 你好 & mehr", {"org_id": "contract-org", "naïve": "ja"}))
    again = transfers.create(ask("G1"), {"idempotency_key": "G1-1"})
    claim_equal("the same key and parameters make nothing new", again.id, made.id)
    claim_equal("the answer says that it is a replay",
                again.last_response.headers.get("idempotent-replayed"), "true")
    listed = transfers.list({"transfer_group": "G1"})
    claim_equal("its group holds it, once", [t.id for t in listed.data], [made.id])
    claim_equal("an unknown group holds nothing", transfers.list({"transfer_group": "X"}).data, [])
    return made


def pages(transfers):
    """Lists longer than a page, walked by the SDK itself."""
    made = [transfers.create(ask("PAGES", amount=100 + index)).id for index in range(7)]
    walked = transfers.list({"transfer_group": "PAGES", "limit": 2}).auto_paging_iter()
    claim_equal("the SDK walks all pages, newest first", [t.id for t in walked], made[::-1])
    first = transfers.list({"destination": "acct_1Zoë", "limit": 3})
    claim_equal("a page says that there is more", (len(first.data), first.has_more), (3, True))


def reversals(transfers, made):
    """Money taken back, in part and in full."""
    part = transfers.reversals.create(made.id, {"amount": 234})
    claim_equal("a part is reversed", (part.amount, part.transfer), (234, made.id))
    after = transfers.retrieve(made.id)
    claim_equal("which is no reversal yet", (after.amount_reversed, after.reversed), (234, False))
    transfers.reversals.create(made.id)
    after = transfers.retrieve(made.id)
    claim_equal("the rest is", (after.amount_reversed, after.reversed), (1234, True))
    claim_equal("and there is no more to reverse",
                refusal(transfers.reversals.create, made.id)[:2], ("InvalidRequestError", 400))
    listed = transfers.reversals.list(made.id).data
    claim_equal("both are listed", sorted(r.amount for r in listed), [234, 1000])


def refusals(client, sandbox, url):
    """Errors reach the SDK as its own classes."""
    create = client.v1.transfers.create
    invalid = "InvalidRequestError"
    claim_equal("other parameters under a known key",
                refusal(create, ask("G1", amount=1), {"idempotency_key": "G1-1"})[:2],
                ("IdempotencyError", 400))
    claim_equal("an account that cannot receive",
                refusal(create, ask("G2", destination="acct_inactive")),
                (invalid, 400, "insufficient_capabilities_for_transfer"))
    claim_equal("an account that is gone", refusal(create, ask("G3", destination="acct_closed")),
                (invalid, 400, "account_invalid"))
    claim_equal("which does not answer either",
                refusal(client.v1.accounts.retrieve, "acct_closed")[:2], ("PermissionError", 403))
    claim_equal("nothing is below one", refusal(create, ask("G4", amount=0))[:2], (invalid, 400))
    for currency, amount in [("kwd", 1234), ("ugx", 150)]:
        claim_equal(f"{amount} {currency} is no amount of Stripe's",
                    refusal(create, ask("G4", amount=amount, currency=currency))[:2],
                    (invalid, 400))
    claim_equal("an unknown transfer", refusal(client.v1.transfers.retrieve, "tr_none"),
                (invalid, 404, "resource_missing"))
    sandbox.call("POST", "/_sandbox/funds",
                 {"provider": "stripe", "currency": "EUR", "amount": "10.00"})
    claim_equal("more than there is", refusal(create, ask("G5", amount=1001, currency="eur")),
                (invalid, 400, "balance_insufficient"))
    create(ask("G6", amount=1000, currency="eur"))
    for fault, found in [("throttle", ("RateLimitError", 429, None)),
                         ("error_before", ("APIError", 500, None))]:
        sandbox.fault(on="POST /v1/transfers", fault=fault)
        claim_equal(f"{fault} is {found[0]}", refusal(create, ask("G7")), found)
    claim_equal("nobody is let in without a secret key",
                refusal(stripe_of("pk_test_contract", url).v1.balance.retrieve)[:2],
                ("AuthenticationError", 401))


def a_key_keeps_its_error(client, sandbox):
    """A 500 that was carried out is the key's answer, until the key is forgotten."""
    create = client.v1.transfers.create
    sandbox.fault(on="POST /v1/transfers", fault="error_after")
    asked = (ask("KEPT"), {"idempotency_key": "KEPT-1"})
    first, second = refusal(create, *asked), refusal(create, *asked)
    claim_equal("a failure is replayed under its key", second, first)
    listed = client.v1.transfers.list({"transfer_group": "KEPT"}).data
    claim_equal("what it paid is found by its group", len(listed), 1)
    sandbox.call("DELETE", "/_sandbox/stripe/keys")
    create(*asked)
    listed = client.v1.transfers.list({"transfer_group": "KEPT"}).data
    claim_equal("a key that was forgotten pays again", len(listed), 2)


def accounts(client, sandbox):
    """What the gate asks before a transfer."""
    account = client.v1.accounts.retrieve("acct_good")
    claim_equal("an account is able", (account.capabilities.transfers, account.payouts_enabled),
                ("active", True))
    sandbox.call("POST", "/_sandbox/stripe/accounts/acct_good", {"transfers": "inactive"})
    account = client.v1.accounts.retrieve("acct_good")
    claim_equal("until it is not", account.capabilities.transfers, "inactive")
    capability = client.v1.accounts.capabilities.retrieve("acct_good", "transfers")
    claim_equal("its capability says the same", capability.status, "inactive")
    balance = client.v1.balance.retrieve()
    euros = [fund.amount for fund in balance.available if fund.currency == "eur"]
    claim_equal("our balance is what is left", euros, [0])
    sandbox.call("POST", "/_sandbox/stripe/payouts", {
        "account": "acct_good", "amount": "1.00", "currency": "USD", "status": "failed"})
    payouts = client.v1.payouts.list({}, {"stripe_account": "acct_good"}).data
    claim_equal("a connected account's payout is shown to it",
                [(p.amount, p.status, p.failure_code) for p in payouts],
                [(100, "failed", "account_closed")])


def events(client, made):
    """What happened, in Stripe's own list."""
    ours = client.v1.events.list({"limit": 100}).auto_paging_iter()
    claim_equal("what happened to us is told", {event.type for event in ours},
                {"transfer.created", "transfer.reversed"})
    theirs = client.v1.events.list({}, {"stripe_account": "acct_good"}).data
    claim_equal("what happened to a connected account is told of it",
                {(event.type, event.account) for event in theirs},
                {(kind, "acct_good") for kind in
                 ("account.updated", "capability.updated", "payout.failed")})
    about = client.v1.events.list({"type": "transfer.reversed"}).data
    claim("an event shows the transfer it is about",
          made.id in [event.data.object["id"] for event in about])
    one = client.v1.events.retrieve(about[0].id)
    claim_equal("and can be read by itself", one.to_dict(), about[0].to_dict())


def check():
    folder = folder_of("stripe-sdk")
    with (
        program.sandbox(folder) as sandbox,
        prism(SPECIFICATION, sandbox.address, folder / "prism.log") as net,
        router({"/": net}) as front,
    ):
        client = stripe_of("sk_test_contract", front.url)
        made = create_and_read(client.v1.transfers)
        pages(client.v1.transfers)
        reversals(client.v1.transfers, made)
        refusals(client, sandbox, front.url)
        a_key_keeps_its_error(client, sandbox)
        accounts(client, sandbox)
        events(client, made)
        books = sandbox.books("stripe")
        claim("the books hold what was taken", len(books) >= 10, books)
        claim_equal("Prism had nothing to object to in any request or answer",
                    front.violations(), [])


run(check)

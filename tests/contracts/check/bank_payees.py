"""Payees of both file rails, and the settings under which mock-bank knows us."""

from program import Payee

# Routing numbers of banks that mock-bank does not play, and its own.
ELSEWHERE = ["021000021", "091000019", "011401533", "026009593", "121000358"]
MOCK_BANK = "999999992"
# Accounts that mock-bank holds: one is closed, one is at a bank that does not exist.
CLOSED, NOWHERE = "0000000003", "0000000004"

NAMES = [
    "Zoë Ångström", "李小龙", "Müller & Söhne GmbH", "O'Brien, \"Pat\" <pat>", "Ольга Ёлкина",
    "محمد علي", "山田 太郎", "Ælfgifu 🎵 Records", "José-María Ñuñez", "e\u0301 combining",
    "x", "A name of seventy characters or so that does not fit into any line of a file",
    "CAFÉ ” “ ’ – … €",
]
AMOUNTS = ["0.01", "0.10", "1.00", "9.99", "1234.56", "99999.99", "1000000.00", "99999999.99"]


def ach(affiliate_id, name, amount, routing, account, **more):
    """A payee by ACH."""
    return Payee(affiliate_id, name, "USD", amount, "ach", {
        "routingNumber": routing, "accountNumber": account, "accountType": "checking",
        "accountHolderName": name, **more})


def wire(affiliate_id, name, amount, routing, account, **more):
    """A payee by wire."""
    return Payee(affiliate_id, name, "USD", amount, "wire", {
        "routingNumber": routing, "accountNumber": account, "accountHolderName": name,
        "city": "Boise", "country": "US", **more})


def settings(folder, **more):
    """The settings of both rails, with their directories in `folder`."""
    outbox, inbox, archive = (folder / name for name in ("outbox", "inbox", "archive"))
    for path in (outbox, inbox, archive):
        path.mkdir(parents=True, exist_ok=True)
    files = {"outbox": str(outbox), "inbox": str(inbox), "archive": str(archive)}
    ach_settings = {
        **files,
        "immediate_destination": MOCK_BANK, "immediate_destination_name": "MOCK BANK",
        "immediate_origin": "0000000001", "immediate_origin_name": "CONTRACT ORG",
        "company_name": "CONTRACT ORG", "company_id": "0000000001", "odfi": MOCK_BANK[:8],
    }
    wire_settings = {
        **files,
        "debtor_name": "Contract Org", "debtor_account": "0000000002",
        "debtor_routing": MOCK_BANK, "debtor_city": "Boise", "debtor_country": "US",
    }
    return {
        **{f"providers.ach.{key}": value for key, value in ach_settings.items()},
        **{f"providers.wire.{key}": value for key, value in wire_settings.items()},
        **more,
    }


def open_accounts(bank):
    """The two accounts that our payments leave from, with money in them."""
    bank.account("ACME", format="nacha", currency="USD", balance=10**15)
    bank.account("GLOBEX", currency="USD", balance=10**15, behaviour="accept")

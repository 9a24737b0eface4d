"""PayPal's own SDK as a client of the sandbox, through PayPal's specification.

usage: python paypal_sdk.py"""

import json

import program
from paypalhttp import HttpError
from paypalpayoutssdk.core import PayPalEnvironment, PayPalHttpClient
from paypalpayoutssdk.payouts import (
    PayoutsGetRequest, PayoutsItemCancelRequest, PayoutsItemGetRequest, PayoutsPostRequest)
from prism import prism, router
from processes import CONTRACTS, folder_of
from report import claim, claim_equal, run

RECEIVERS = ["zoë@example.com", "unregistered@example.com", "locked@example.com"]


def batch(reference, receivers, **header):
    """A batch of one dollar and some cents for each receiver."""
    items = [{
        "recipient_type": "EMAIL",
        "amount": {"value": f"1.{index:02}", "currency": "USD"},
        "receiver": receiver,
        "note": "Grüße, 你好",
        "sender_item_id": f"{reference}-{index}",
    } for index, receiver in enumerate(receivers)]
    request = PayoutsPostRequest()
    request.request_body({
        "sender_batch_header": {"sender_batch_id": reference, **header}, "items": items})
    return request


def refusal(client, request):
    """The status and the body of the error that a request must meet."""
    try:
        client.execute(request)
    except HttpError as error:
        return error.status_code, json.loads(error.message)
    return None, {}


def create_and_read(client):
    """A batch from its making to each of its items."""
    made = client.execute(batch("SDK-1", RECEIVERS, email_subject="Ünïcode"))
    header = made.result.batch_header
    claim_equal("a batch is taken", (made.status_code, header.batch_status), (201, "PENDING"))
    claim_equal("with our own id", header.sender_batch_header.sender_batch_id, "SDK-1")

    request = PayoutsGetRequest(header.payout_batch_id).page(1).page_size(2).total_required("true")
    first = client.execute(request).result
    claim_equal("a page holds as many as were asked for",
                (len(first.items), first.total_items, first.total_pages), (2, 3, 2))
    last = client.execute(PayoutsGetRequest(header.payout_batch_id).page(2).page_size(2)).result
    items = {item.payout_item.receiver: item for item in first.items + last.items}
    claim_equal("the pages together hold everybody", sorted(items), sorted(RECEIVERS))
    claim_equal("each receiver has its fate",
                [items[receiver].transaction_status for receiver in RECEIVERS],
                ["SUCCESS", "UNCLAIMED", "FAILED"])
    claim_equal("a batch whose items were worked off is a success",
                last.batch_header.batch_status, "SUCCESS")

    item = client.execute(PayoutsItemGetRequest(items[RECEIVERS[0]].payout_item_id)).result
    claim_equal("an item by itself says what was asked",
                (item.payout_item.amount.value, item.payout_item.note, item.sender_batch_id),
                ("1.00", "Grüße, 你好", "SDK-1"))
    return header.payout_batch_id, items


def cancel(client, items):
    """Only what nobody took can be called off."""
    unclaimed = items["unregistered@example.com"].payout_item_id
    called_off = client.execute(PayoutsItemCancelRequest(unclaimed)).result
    claim_equal("an unclaimed item is called off", called_off.transaction_status, "RETURNED")
    status, body = refusal(client, PayoutsItemCancelRequest(unclaimed))
    claim_equal("but only once", (status, body["name"]), (400, "ITEM_INCORRECT_STATUS"))


def refusals(client, batch_id):
    """Errors reach the SDK as PayPal's own."""
    status, body = refusal(client, batch("SDK-1", RECEIVERS, email_subject="Ünïcode"))
    detail = body["details"][0]
    claim_equal("the same batch again is refused", (status, body["name"], detail["field"]),
                (400, "USER_BUSINESS_ERROR", "SENDER_BATCH_ID"))
    claim("with a link to the first", detail["link"][0]["href"].endswith(batch_id), detail)
    status, body = refusal(client, batch("SDK-2", ["refused@example.com"]))
    claim_equal("a refused receiver is named",
                (status, body["name"], body["details"][0]["field"]),
                (400, "VALIDATION_ERROR", "items[0].receiver"))
    status, body = refusal(client, PayoutsGetRequest("NO-SUCH-BATCH"))
    claim_equal("an unknown batch is not found", (status, body["name"]),
                (404, "INVALID_RESOURCE_ID"))
    status, body = refusal(client, PayoutsItemGetRequest("NO-SUCH-ITEM"))
    claim_equal("nor an unknown item", (status, body["name"]), (404, "INVALID_RESOURCE_ID"))


def check():
    folder = folder_of("paypal-sdk")
    specification = CONTRACTS / "paypal/payments_payouts_batch_v1.json"
    with (
        program.sandbox(folder) as sandbox,
        prism(specification, sandbox.address, folder / "prism.log") as net,
        router({"/": net, "/v1/oauth2/": sandbox.address}) as front,
    ):
        environment = PayPalEnvironment("an-id", "a-secret", front.url, front.url)
        client = PayPalHttpClient(environment)
        batch_id, items = create_and_read(client)
        cancel(client, items)
        refusals(client, batch_id)
        books = {row["recipient"]: row["status"] for row in sandbox.books("paypal")}
        claim_equal("the books hold what took money, and what became of it", books,
                    {RECEIVERS[0]: "SUCCESS", RECEIVERS[1]: "RETURNED"})
        claim_equal("Prism had nothing to object to in any request or answer",
                    front.violations(), [])


run(check)

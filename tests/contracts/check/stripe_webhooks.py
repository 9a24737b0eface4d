"""Webhooks signed by Stripe's own SDK, delivered to payoutd: what is genuine brings the check
forward, and what is not is refused.

usage: python stripe_webhooks.py"""

import http.client
import json
import time

import program
from processes import folder_of
from program import ORG, Payee, Payoutd, jobs_at_rest
from report import claim, claim_equal, run
from stripe import WebhookSignature

OLD, NEW, OTHERS = "whsec_old", "whsec_new", "whsec_of_another_org"
OTHER_ORG, MUTE_ORG = "other-org", "mute-org"


class Door:
    """The address that Stripe delivers to."""

    def __init__(self, address):
        self.address = address

    def deliver(self, body, header, org=ORG):
        """One delivery; its status, or 0 if it was cut off."""
        call = http.client.HTTPConnection(self.address, timeout=30)
        try:
            headers = {"content-type": "application/json"}
            if header is not None:
                headers["stripe-signature"] = header
            call.request("POST", f"/webhooks/stripe/{org}", body, headers)
            return call.getresponse().status
        except OSError:
            return 0
        finally:
            call.close()


def signed(body, secret, at=None):
    """The header that Stripe would send with a body."""
    return WebhookSignature.generate_signature_header(body.decode(), secret, at)


def reversal_of(transfer_id, reference, event_id="evt_1"):
    """A transfer.reversed event, with non-ASCII text in its body."""
    return json.dumps({
        "id": event_id, "object": "event", "type": "transfer.reversed", "created": 1795358657,
        "data": {"object": {
            "id": transfer_id, "object": "transfer", "transfer_group": reference,
            "description": "Zoë 🎵"}},
    }, ensure_ascii=False).encode()


def genuine(payoutd, sandbox, door):
    """A webhook brings the check forward, and moves nothing by itself."""
    print("what is genuine")
    for key, secret in [("w0", OLD), ("w1", NEW)]:
        transfer = payoutd.show(payoutd.payouts()[key])["transfers"][-1]
        reference = transfer["reference"]
        sandbox.call("POST", f"/_sandbox/stripe/transfers/{reference}/reverse")
        payoutd.job("reconcile-transfers", now=False)
        claim_equal(f"{key} is not asked about before its time",
                    payoutd.payouts()[key]["status"], "completed")
        body = reversal_of(transfer["provider_id"], reference, f"evt_{key}")
        claim_equal(f"signed with {secret} it is kept", door.deliver(body, signed(body, secret)),
                    200)
        claim_equal("the webhook moved nothing by itself",
                    payoutd.payouts()[key]["status"], "completed")
        payoutd.job("reconcile-transfers", now=False)
        claim_equal("and the next run asks", payoutd.payouts()[key]["status"], "returned")
        claim_equal("again and again it is kept too",
                    [door.deliver(body, signed(body, secret)) for _ in range(3)], [200] * 3)
    both = signed(body, "whsec_gone") + "," + signed(body, NEW).split(",")[1]
    claim_equal("one of two signatures is enough", door.deliver(body, both), 200)
    unknown = body.replace(b"transfer.reversed", b"something.never.heard.of")
    unknown = unknown.replace(b"evt_w1", b"evt_x")
    claim_equal("an event that nobody knows is kept and ignored",
                door.deliver(unknown, signed(unknown, NEW)), 200)


def refused(payoutd, door):
    """Whatever is not proven to be Stripe's, and meant for this org."""
    print("what is not genuine")
    transfer = payoutd.show(payoutd.payouts()["w2"])["transfers"][-1]
    body = reversal_of(transfer["provider_id"], transfer["reference"], "evt_forged")
    now = int(time.time())
    forged = {
        "no signature": (body, None, ORG),
        "an empty signature": (body, "", ORG),
        "a signature of nothing": (body, f"t={now},v1=", ORG),
        "another secret": (body, signed(body, "whsec_forged"), ORG),
        "the secret of another org": (body, signed(body, OTHERS), ORG),
        "our secret at another org": (body, signed(body, NEW), OTHER_ORG),
        "a changed body": (body + b" ", signed(body, NEW), ORG),
        "a changed time": (body, signed(body, NEW, now).replace(f"t={now}", f"t={now + 1}"), ORG),
        "a delivery of ten minutes ago": (body, signed(body, NEW, now - 600), ORG),
        "a delivery of tomorrow": (body, signed(body, NEW, now + 86_400), ORG),
        "another scheme": (body, signed(body, NEW).replace("v1=", "v0="), ORG),
        "an org without a secret": (body, signed(body, ""), MUTE_ORG),
        "an org that does not exist": (body, signed(body, NEW), "nobody"),
    }
    for what, (sent, header, org) in forged.items():
        status = door.deliver(sent, header, org)
        claim(f"{what} is refused", 400 <= status < 500, status)
    large = b'{"id":"' + b"x" * 10_000_000 + b'"}'
    status = door.deliver(large, signed(large, NEW))
    claim("ten megabytes are refused", status == 0 or 400 <= status < 500, status)
    payoutd.job("reconcile-transfers", now=False)
    claim_equal("nothing of it moved anything", payoutd.payouts()["w2"]["status"], "completed")


def check():
    folder = folder_of("stripe-webhooks")
    with program.sandbox(folder) as sandbox:
        payoutd = Payoutd(folder, {
            "jobs.dir": str(jobs_at_rest(folder)),
            "providers.stripe.base_url": sandbox.url,
            "providers.stripe.secret_key": "sk_test_contract",
            "providers.stripe.webhook_secrets": f"{ORG}={OLD},{ORG}={NEW},{OTHER_ORG}={OTHERS}",
        })
        payoutd.take_in([
            Payee(f"w{index}", "Zoë", "USD", f"10.0{index}", "stripe-connect",
                  {"account": f"acct_1W{index}"}) for index in range(3)])
        for org in (OTHER_ORG, MUTE_ORG):
            payoutd.run("import", str(folder / "in"), "--org", org)
        payoutd.request_all()
        for _ in range(2):
            payoutd.job("submit-transfers")
            payoutd.job("reconcile-transfers")
        with payoutd.daemon() as address:
            door = Door(address)
            genuine(payoutd, sandbox, door)
            refused(payoutd, door)
        claim_equal("no invariant is broken", payoutd.breaches(), [])


run(check)

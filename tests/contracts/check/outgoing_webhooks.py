"""Webhooks that payoutd sends, verified by the reference library of Standard Webhooks.

usage: python outgoing_webhooks.py"""

import http.client
import http.server
import json
import threading
import time

import jwt
import program
from processes import folder_of
from program import ORG, Payee, Payoutd, jobs_at_rest
from report import claim, claim_equal, run
from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "a secret of the contract checks, of more than 32 bytes"
PATIENCE = 60


class Receiver:
    """Somebody who is told; it answers the first delivery with 503."""

    def __init__(self):
        heard = self.heard = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                heard.append((dict(self.headers), body))
                self.send_response(503 if len(heard) == 1 else 204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for(self, number):
        """The deliveries, once there are so many."""
        until = time.monotonic() + PATIENCE
        while len(self.heard) < number and time.monotonic() < until:
            time.sleep(0.05)
        return list(self.heard)


class Staff:
    """A member of staff at the API."""

    def __init__(self, address):
        self.address = address
        claims = {"sub": "sam", "orgid": ORG, "roles": ["staff"], "exp": int(time.time()) + 600}
        self.token = jwt.encode(claims, SECRET, algorithm="HS256")

    def call(self, method, path, body=None):
        """One call; its status and its answer."""
        call = http.client.HTTPConnection(self.address, timeout=30)
        headers = {"orgid": ORG, "authorization": f"Bearer {self.token}",
                   "content-type": "application/json"}
        call.request(method, path, None if body is None else json.dumps(body), headers)
        answer = call.getresponse()
        text = answer.read()
        call.close()
        return answer.status, json.loads(text) if text else None


def holds(secret, headers, body):
    """What the library makes of a delivery; None if it refuses it."""
    try:
        return Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return None


def told(receiver, staff, payoutd):
    """Every delivery is proven by the secret that the API showed, and by no other."""
    print("what is told")
    status, added = staff.call("POST", "/webhook-endpoints",
                               {"url": receiver.url, "events": ["payout.*"]})
    claim_equal("the endpoint is added", status, 201)
    payoutd.request_all()
    heard = receiver.wait_for(4)
    claim_equal("three payouts and one repetition are told", len(heard), 4)
    for headers, body in heard:
        event = holds(added["secret"], headers, body)
        claim("the library proves it", event is not None, headers)
        claim_equal("it is what happened", event["type"], "payout.requested")
        claim("another secret does not",
              holds("whsec_" + "A" * 43 + "=", headers, body) is None, headers)
        claim("a changed body does not", holds(added["secret"], headers, body + b" ") is None, body)
        claim("no account is told", b"acct_" not in body, body)
    by_id = {}
    for headers, body in heard:
        by_id.setdefault(headers["webhook-id"], set()).add(body)
    claim_equal("the repetition has its id and its bytes",
                sorted(len(bodies) for bodies in by_id.values()), [1, 1, 1])
    return added


def rotated(receiver, staff, added):
    """After a rotation the library proves deliveries by either secret."""
    print("a rotation")
    before = len(receiver.heard)
    _, anew = staff.call("POST", f"/webhook-endpoints/{added['endpointId']}/rotate")
    event_id = receiver.heard[-1][0]["webhook-id"]
    status, _ = staff.call("POST", "/webhook-deliveries/replay", {"eventId": event_id})
    claim_equal("an event is replayed", status, 202)
    headers, body = receiver.wait_for(before + 1)[-1]
    claim_equal("under the same id", headers["webhook-id"], event_id)
    for secret in (added["secret"], anew["secret"]):
        claim("either secret proves it", holds(secret, headers, body) is not None, headers)


def check():
    folder = folder_of("outgoing-webhooks")
    with program.sandbox(folder) as sandbox:
        payoutd = Payoutd(folder, {
            "jobs.dir": str(jobs_at_rest(folder)),
            "providers.stripe.base_url": sandbox.url,
            "providers.stripe.secret_key": "sk_test_contract",
            "auth.jwt_secret": SECRET,
            "notify.allow_private": "true",
        })
        payoutd.take_in([
            Payee(f"n{index}", "Zoë", "USD", f"10.0{index}", "stripe-connect",
                  {"account": f"acct_1N{index}"}) for index in range(3)])
        receiver = Receiver()
        with payoutd.daemon() as address:
            staff = Staff(address)
            rotated(receiver, staff, told(receiver, staff, payoutd))
        claim_equal("no invariant is broken", payoutd.breaches(), [])


run(check)

"""Webhooks that the sandbox signs: Stripe's SDK takes its signatures, an X.509 library takes
PayPal's, and payoutd asks PayPal back within PayPal's specification.

usage: python sandbox_webhooks.py"""

import base64
import contextlib
import json
import queue
import threading
import time
import urllib.request
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import program
import stripe
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from prism import prism, router
from processes import CONTRACTS, folder_of
from program import ORG, Payee, Payoutd, jobs_at_rest
from report import claim, claim_equal, run

SECRET, WEBHOOK_ID = "whsec_contract", "WH0CONTRACT1"
NOTIFICATIONS = CONTRACTS / "paypal/notifications_webhooks_v1.json"
PAYOUTS = CONTRACTS / "paypal/payments_payouts_batch_v1.json"


@contextlib.contextmanager
def letterbox():
    """An endpoint that takes every delivery; its address and the deliveries."""
    taken = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            taken.put(({key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response_only(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", taken
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def deliveries(taken, count):
    """So many deliveries, once they are there."""
    return [taken.get(timeout=20) for _ in range(count)]


def stripes(delivery, secret=SECRET):
    """The event of a delivery, if Stripe's SDK takes it."""
    headers, body = delivery
    try:
        return stripe.Webhook.construct_event(body, headers.get("stripe-signature"), secret)
    except stripe.SignatureVerificationError:
        return None


def paypals(delivery, root, webhook_id=WEBHOOK_ID):
    """The event of a delivery, if its certificate leads to `root` and signed it."""
    headers, body = delivery
    with urllib.request.urlopen(headers["paypal-cert-url"], timeout=20) as answer:
        chain = x509.load_pem_x509_certificates(answer.read())
    links = list(zip(chain, [*chain[1:], root]))
    if chain[-1] == root:
        links = links[:-1]
    for signed, signer in links:
        signed.verify_directly_issued_by(signer)
    text = "|".join([headers["paypal-transmission-id"], headers["paypal-transmission-time"],
                     webhook_id, str(zlib.crc32(body))])
    try:
        chain[0].public_key().verify(
            base64.b64decode(headers["paypal-transmission-sig"]), text.encode(),
            padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return None
    return json.loads(body)


def payees():
    """Names in several scripts, one for each rail that has webhooks."""
    return [
        Payee("by-stripe", "Zoë 🎵", "USD", "10.01", "stripe-connect", {"account": "acct_1Hook"}),
        Payee("by-paypal", "李小龙", "USD", "10.02", "paypal", {"email": "hook@example.com"}),
    ]


def pay(payoutd):
    """Everybody is requested, sent and settled."""
    payoutd.request_all()
    for _ in range(2):
        payoutd.job("submit-transfers")
        payoutd.job("reconcile-transfers")
    claim_equal("everybody is paid", {p["status"] for p in payoutd.payouts().values()},
                {"completed"})


def signatures(folder, sandbox, url, taken):
    """The sandbox's signatures before verifiers that others wrote."""
    print("signatures of the sandbox")
    for endpoint in ({"provider": "stripe", "secret": SECRET},
                     {"provider": "paypal", "webhook_id": WEBHOOK_ID}):
        sandbox.call("POST", "/_sandbox/webhooks", {**endpoint, "url": url})
    payoutd = payoutd_at(folder, "signatures", sandbox.url, {})
    payoutd.take_in(payees())
    pay(payoutd)
    time.sleep(1)
    told = deliveries(taken, taken.qsize())
    of_stripe = [d for d in told if "stripe-signature" in d[0]]
    of_paypal = [d for d in told if "paypal-transmission-sig" in d[0]]
    events = [stripes(delivery) for delivery in of_stripe]
    claim("Stripe's SDK takes every event of Stripe's", events and all(events), of_stripe)
    claim("a transfer that was made is told", "transfer.created" in {e.type for e in events})
    claim("with another secret it takes none",
          not any(stripes(delivery, "whsec_other") for delivery in of_stripe))
    headers, body = of_stripe[0]
    claim("nor with another body", stripes((headers, body + b" ")) is None)

    with urllib.request.urlopen(sandbox.url + "/_sandbox/paypal-ca.pem", timeout=20) as answer:
        root = x509.load_pem_x509_certificate(answer.read())
    events = [paypals(delivery, root) for delivery in of_paypal]
    claim("every event of PayPal's is signed under its authority", events and all(events))
    kinds = {event["event_type"] for event in events}
    claim("an item that succeeded is told", "PAYMENT.PAYOUTS-ITEM.SUCCEEDED" in kinds, kinds)
    claim("for another webhook it is not", paypals(of_paypal[0], root, "WH0OTHER") is None)
    headers, body = of_paypal[0]
    claim("nor with another body", paypals((headers, body + b" "), root) is None)
    sandbox.call("DELETE", "/_sandbox/webhooks")


def payoutd_at(folder, name, url, settings):
    """A payoutd whose PayPal and Stripe are at one address."""
    home = folder / name
    home.mkdir()
    return Payoutd(home, {
        "jobs.dir": str(jobs_at_rest(home)),
        "providers.stripe.base_url": url, "providers.stripe.secret_key": "sk_test_contract",
        "providers.paypal.base_url": url, "providers.paypal.client_id": "an-id",
        "providers.paypal.client_secret": "a-secret", **settings})


def heard(folder, sandbox, front, way, settings):
    """What happens at the providers reaches payoutd's books by webhooks and due checks alone."""
    print(f"heard by payoutd, PayPal's by {way}")
    payoutd = payoutd_at(folder, way, front.url, {
        "providers.stripe.webhook_secrets": SECRET,
        "providers.paypal.webhook_ids": WEBHOOK_ID, **settings})
    payoutd.take_in(payees())
    pay(payoutd)
    payouts = payoutd.payouts()
    references = {key: payoutd.show(payout)["transfers"][-1]["reference"]
                  for key, payout in payouts.items()}
    log = payoutd.folder / "daemon.log"
    with payoutd.daemon() as address:
        door = f"http://{address}/webhooks"
        for endpoint in ({"provider": "stripe", "secret": SECRET, "url": f"{door}/stripe/{ORG}"},
                         {"provider": "paypal", "webhook_id": WEBHOOK_ID,
                          "url": f"{door}/paypal/{ORG}"}):
            sandbox.call("POST", "/_sandbox/webhooks", endpoint)
        sandbox.call("POST", "/_sandbox/webhooks/mode", {"mode": "twice"})
        sandbox.call("POST", f"/_sandbox/items/{references['by-paypal']}",
                     {"status": "REFUNDED"})
        sandbox.call("POST",
                     f"/_sandbox/stripe/transfers/{references['by-stripe']}/reverse")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and log.read_text().count("webhook.kept") < 4:
            time.sleep(0.05)
        tries = sandbox.call("GET", "/_sandbox/webhooks")["deliveries"]
        ours = [t for t in tries if door in t["url"]]
        claim("every delivery is taken", ours and all(t["status"] == 200 for t in ours), ours)
    sandbox.call("DELETE", "/_sandbox/webhooks")
    claim_equal("nothing moved by that alone",
                {p["status"] for p in payoutd.payouts().values()}, {"completed"})
    payoutd.job("reconcile-transfers", now=False)
    claim_equal("the next due run asks, and both are returned",
                {p["status"] for p in payoutd.payouts().values()}, {"returned"})
    claim_equal("no invariant is broken", payoutd.breaches(), [])


def check():
    folder = folder_of("sandbox-webhooks")
    with (
        program.sandbox(folder) as sandbox,
        prism(NOTIFICATIONS, sandbox.address, folder / "prism.log") as net,
        prism(PAYOUTS, sandbox.address, folder / "prism-payouts.log") as payouts,
        router({"/": sandbox.address, "/v1/payments/": payouts,
                "/v1/notifications/": net}) as front,
        letterbox() as (url, taken),
    ):
        signatures(folder, sandbox, url, taken)
        authority = folder / "authority.pem"
        with urllib.request.urlopen(sandbox.url + "/_sandbox/paypal-ca.pem") as answer:
            authority.write_bytes(answer.read())
        heard(folder, sandbox, front, "certificate", {
            "providers.paypal.webhook_ca_file": str(authority),
            "providers.paypal.webhook_cert_hosts": "127.0.0.1"})
        heard(folder, sandbox, front, "postback", {"providers.paypal.webhook_verify": "postback"})
        asked = front.count("POST", "/v1/notifications/verify-webhook-signature")
        claim("PayPal was asked back", asked > 0, asked)
        claim_equal("Prism had nothing to object to in any request or answer",
                    front.violations(), [])


run(check)

//! The rows of the matrix: each operation of the API, who may use it, and a call that is allowed.
//!
//! A route that is added without its row fails the matrix, and so does a row without its route.

use serde_json::{Value, json};

use super::World;

/// Who may use an operation. Written here a second time, so that a route that is opened to somebody
/// by mistake is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Staff and approvers look; services with the permission.
    Read(&'static str),
    /// Staff change; services with the permission.
    Write(&'static str),
    /// As [`Rule::Read`], and partners for their own.
    ReadOwn(&'static str),
    /// As [`Rule::Write`], and partners for their own.
    WriteOwn(&'static str),
    /// Partners alone.
    Partner,
    /// Staff alone.
    Staff,
    /// Approvers alone.
    Approver,
    /// It proves its callers itself, or need not.
    Open,
}

/// What another partner gets, who asks for what is somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// 404, in the same words as for an id that nobody has.
    Gone,
    /// A success that shows nothing of anybody else's.
    OwnAlone,
}

/// An operation, and a call of it that is allowed.
#[derive(Debug, Clone)]
pub struct Row {
    pub method: &'static str,
    /// As the document has it.
    pub path: &'static str,
    pub rule: Rule,
    /// What stands in the path's braces.
    pub ids: Vec<(&'static str, String)>,
    pub query: String,
    pub body: Option<Value>,
    /// What the call is answered with.
    pub status: u16,
    pub other: Option<Other>,
    /// The id in body and query that another partner may not ask about.
    pub about: Option<&'static str>,
}

impl Row {
    fn new(method: &'static str, path: &'static str, rule: Rule, status: u16) -> Self {
        let (ids, query) = (Vec::new(), String::new());
        Self { method, path, rule, ids, query, body: None, status, other: None, about: None }
    }

    fn id(mut self, name: &'static str, id: &str) -> Self {
        self.ids.push((name, id.to_owned()));
        self
    }

    fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    fn query(mut self, query: &str) -> Self {
        self.query = query.to_owned();
        self
    }

    fn other(mut self, other: Other) -> Self {
        self.other = Some(other);
        self
    }

    fn about(mut self, id: &'static str) -> Self {
        self.about = Some(id);
        self
    }
}

fn get(path: &'static str, rule: Rule) -> Row {
    Row::new("get", path, rule, 200)
}

fn post(path: &'static str, rule: Rule, status: u16) -> Row {
    Row::new("post", path, rule, status)
}

fn patch(path: &'static str, rule: Rule) -> Row {
    Row::new("patch", path, rule, 200)
}

fn delete(path: &'static str, rule: Rule) -> Row {
    Row::new("delete", path, rule, 204)
}

/// Every operation of the document. Each call is about things of the partner `ana`. They are called
/// in this order, by everybody who may.
pub fn rows(world: &World) -> Vec<Row> {
    [
        partners(world),
        methods(world),
        programs(),
        commissions(),
        payouts(world),
        wallets(),
        jobs(world),
        keys(world),
        webhooks(world),
    ]
    .concat()
}

fn methods(world: &World) -> Vec<Row> {
    use Rule::{Open, Partner, Read, Write};
    let own = |method: &'static str, path, status| {
        Row::new(method, path, Partner, status).id("methodId", &world.method).other(Other::Gone)
    };
    let staff = |path| {
        let row = post(path, Write("methods:write"), 200).id("methodId", &world.method);
        row.body(json!({ "note": "seen a bank statement" }))
    };
    let bring = |email: &str| json!({ "affiliateId": "ana", "type": "paypal", "destination": { "email": email } });
    vec![
        get("/client/finance/payment-methods", Partner).other(Other::OwnAlone),
        post("/client/finance/payment-methods", Partner, 201)
            .body(bring("x@example.com"))
            .about("ana")
            .other(Other::Gone),
        own("get", METHOD, 200),
        own("patch", METHOD, 200).body(json!({ "label": "mine" })),
        own("post", "/client/finance/payment-methods/{methodId}/verify", 200),
        own("post", "/client/finance/payment-methods/{methodId}/confirm", 409)
            .body(json!({ "amounts": [0.12, 0.34] })),
        Row::new("get", "/client/finance/payment-methods/paypal/callback", Open, 404)
            .query("state=x&code=c"),
        get("/finance/payment-methods", Read("methods:read")),
        post("/finance/payment-methods", Write("methods:write"), 201).body(bring("y@example.com")),
        staff("/finance/payment-methods/{methodId}/verify"),
        staff("/finance/payment-methods/{methodId}/reject"),
        staff("/finance/payment-methods/{methodId}/disable"),
        own("delete", METHOD, 204),
    ]
}

const METHOD: &str = "/client/finance/payment-methods/{methodId}";

fn partners(world: &World) -> Vec<Row> {
    use Rule::{Partner, ReadOwn, WriteOwn};
    let source = json!({ "type": "affiliate", "affiliateId": "ana", "program": "creator" });
    vec![
        get("/client/affiliate/me", Partner).other(Other::OwnAlone),
        get("/client/affiliate/me/earnings", Partner)
            .query("program=creator")
            .other(Other::OwnAlone),
        get("/finance/payouts", ReadOwn("payouts:read"))
            .query("source.affiliateId=ana")
            .other(Other::OwnAlone),
        get("/finance/payouts/{payoutId}", ReadOwn("payouts:read"))
            .id("payoutId", &world.payout)
            .other(Other::Gone),
        get("/finance/payouts/{payoutId}/lines", ReadOwn("payouts:read"))
            .id("payoutId", &world.payout)
            .other(Other::Gone),
        post("/finance/payouts/request", WriteOwn("payouts:request"), 201)
            .body(json!({ "amount": 10, "currency": "USD", "source": source }))
            .about("ana")
            .other(Other::Gone),
    ]
}

fn programs() -> Vec<Row> {
    use Rule::{Read, Write};
    let enrolment = json!({
        "affiliateId": "cem", "program": "shop", "partnerId": "partner-cem", "name": "Cem",
        "email": "cem@example.com", "code": "CEM",
    });
    let terms = json!([{ "currency": "USD", "minPayout": 10 }]);
    vec![
        get("/affiliate/programs", Read("programs:read")),
        post("/affiliate/programs", Write("programs:write"), 201)
            .body(json!({ "program": "shop", "title": "Shop", "currencies": terms })),
        get("/affiliate/programs/{program}", Read("programs:read")).id("program", "creator"),
        patch("/affiliate/programs/{program}", Write("programs:write"))
            .id("program", "shop")
            .body(json!({ "status": "paused" })),
        get("/affiliate/programs/{program}/limits", Read("programs:read")).id("program", "creator"),
        Row::new("put", "/affiliate/programs/{program}/limits", Write("programs:write"), 200)
            .id("program", "shop")
            .body(json!({ "payoutsPerDay": 100 })),
        get("/affiliate/affiliates", Read("affiliates:read")),
        post("/affiliate/affiliates", Write("affiliates:write"), 201).body(enrolment),
        get("/affiliate/affiliates/{affiliateId}", Read("affiliates:read"))
            .id("affiliateId", "ana"),
        patch("/affiliate/affiliates/{affiliateId}", Write("affiliates:write"))
            .id("affiliateId", "cem")
            .body(json!({ "status": "suspended" })),
        get("/affiliate/{affiliateId}/explain", Read("affiliates:read")).id("affiliateId", "ana"),
    ]
}

fn jobs(world: &World) -> Vec<Row> {
    use Rule::{Read, Write};
    let (read, write) = (Read("jobs:read"), Write("jobs:write"));
    let pays = |row: Row| row.id("jobId", "auto-payout");
    let of_run = |row: Row| row.id("runId", &world.run);
    vec![
        get("/jobs", read),
        pays(get("/jobs/{jobId}", read)),
        pays(get("/jobs/{jobId}/next", read)),
        pays(post("/jobs/{jobId}/dry-run", write, 200)),
        pays(post("/jobs/{jobId}/pause", write, 204)).body(json!({ "reason": "a look first" })),
        pays(post("/jobs/{jobId}/resume", write, 204)),
        pays(post("/jobs/{jobId}/plan", write, 201)),
        get("/plans/{hash}", read).id("hash", &world.plan),
        pays(post("/jobs/{jobId}/run", write, 202)),
        pays(post("/jobs/{jobId}/backfill", write, 200)).body(json!({
            "from": "2026-02-20T00:00:00Z", "to": "2026-03-01T00:00:00Z", "dryRun": true,
            "reason": "the bank was closed",
        })),
        // It succeeded.
        of_run(post("/runs/{runId}/cancel", write, 409)).body(json!({ "reason": "no more" })),
        of_run(post("/runs/{runId}/retry", write, 409)).body(json!({ "reason": "once more" })),
        get("/runs", read),
        of_run(get("/runs/{runId}", read)),
        of_run(get("/runs/{runId}/decisions", read)),
        of_run(get("/runs/{runId}/log", read)),
        get("/reconcile/breaks", Read("reconcile:read")),
        post("/reconcile/breaks/{breakId}/close", Write("reconcile:write"), 204)
            .id("breakId", "br_1")
            .body(json!({ "note": "seen" })),
    ]
}

fn commissions() -> Vec<Row> {
    use Rule::{Read, Write};
    let sale = |id: &str| {
        json!({
            "commissionId": id, "affiliateId": "ana", "orderId": id, "orderAmount": 50,
            "amount": 5, "currency": "USD", "convertedAt": "2026-03-02T08:00:00Z",
        })
    };
    vec![
        get("/affiliate/commissions", Read("commissions:read")),
        post("/affiliate/commissions", Write("commissions:write"), 201).body(sale("one")),
        post("/affiliate/commissions/bulk", Write("commissions:write"), 200)
            .body(json!({ "commissions": [sale("two")] })),
        post("/affiliate/commissions/process-held", Write("commissions:write"), 200),
        get("/affiliate/commissions/{commissionId}", Read("commissions:read"))
            .id("commissionId", "order-0"),
        post("/affiliate/commissions/{commissionId}/reverse", Write("commissions:write"), 200)
            .id("commissionId", "order-0")
            .body(json!({ "refundId": "re_1", "amount": 0.5, "reason": "one of two" })),
    ]
}

fn payouts(world: &World) -> Vec<Row> {
    use Rule::{Approver, Write};
    let write = Write("payouts:write");
    let reason = "the provider says so";
    vec![
        post("/finance/payouts/{payoutId}/approve", Approver, 200)
            .id("payoutId", &world.large)
            .body(json!({ "note": "seen the orders" })),
        post("/finance/payouts/{payoutId}/mark", write, 409)
            .id("payoutId", &world.payout)
            .body(json!({ "finding": "paid", "reason": reason })),
        post("/finance/payouts/{payoutId}/resend", write, 409)
            .id("payoutId", &world.payout)
            .body(json!({ "nothingWasPaid": true, "reason": reason })),
        post("/finance/payouts/{payoutId}/cancel", write, 200)
            .id("payoutId", &world.payout)
            .body(json!({ "reason": "a mistake" })),
        post("/finance/payouts/{payoutId}/retry", write, 201).id("payoutId", &world.payout),
    ]
}

fn wallets() -> Vec<Row> {
    use Rule::{Read, Write};
    let of_ana = |row: Row| row.id("affiliateId", "ana").id("currency", "USD");
    let why = json!({ "reason": "it looks odd" });
    let adjustment = json!({ "adjustmentId": "ad_1", "amount": 5, "reason": "a bonus" });
    vec![
        get("/wallets", Read("wallets:read")),
        of_ana(get("/wallets/{affiliateId}/{currency}", Read("wallets:read"))),
        of_ana(get("/wallets/{affiliateId}/{currency}/entries", Read("wallets:read"))),
        of_ana(post("/wallets/{affiliateId}/{currency}/adjustments", Write("wallets:write"), 201))
            .body(adjustment),
        of_ana(post("/wallets/{affiliateId}/{currency}/freeze", Write("wallets:write"), 200))
            .body(why.clone()),
        of_ana(post("/wallets/{affiliateId}/{currency}/unfreeze", Write("wallets:write"), 200))
            .body(why),
    ]
}

const HALT: &str = "/halts/{scope}/{subject}";

fn keys(world: &World) -> Vec<Row> {
    use Rule::{Read, Write};
    let key = json!({ "name": "cron", "permissions": ["keys:read"] });
    vec![
        get("/alerts", Read("reconcile:read")),
        post("/alerts/{alertId}/close", Write("reconcile:write"), 204)
            .id("alertId", "al_1")
            .body(json!({ "note": "seen" })),
        get("/audit", Read("audit:read")),
        get("/halts", Read("jobs:read")),
        Row::new("put", HALT, Rule::Staff, 204)
            .id("scope", "provider")
            .id("subject", "wire")
            .body(json!({ "reason": "it looks odd" })),
        delete(HALT, Rule::Staff).id("scope", "provider").id("subject", "wire"),
        get("/keys", Read("keys:read")),
        post("/keys", Rule::Staff, 201).body(key),
        delete("/keys/{keyId}", Rule::Staff).id("keyId", &world.key),
    ]
}

fn webhooks(world: &World) -> Vec<Row> {
    use Rule::{Read, Write};
    const ENDPOINT: &str = "/webhook-endpoints/{endpointId}";
    vec![
        get("/webhook-endpoints", Read("webhooks:read")),
        post("/webhook-endpoints", Write("webhooks:write"), 201)
            .body(json!({ "url": "http://127.0.0.1:9443/another" })),
        get(ENDPOINT, Read("webhooks:read")).id("endpointId", &world.endpoint),
        patch(ENDPOINT, Write("webhooks:write"))
            .id("endpointId", &world.endpoint)
            .body(json!({ "description": "the shop" })),
        post("/webhook-endpoints/{endpointId}/rotate", Write("webhooks:write"), 200)
            .id("endpointId", &world.endpoint),
        get("/webhook-deliveries", Read("webhooks:read")),
        post("/webhook-deliveries/replay", Write("webhooks:write"), 202)
            .body(json!({ "from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z" })),
        delete(ENDPOINT, Write("webhooks:write")).id("endpointId", &world.endpoint),
    ]
}

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
}

impl Row {
    fn new(method: &'static str, path: &'static str, rule: Rule, status: u16) -> Self {
        let (ids, query) = (Vec::new(), String::new());
        Self { method, path, rule, ids, query, body: None, status, other: None }
    }

    fn id(mut self, name: &'static str, id: &str) -> Self {
        self.ids.push((name, id.to_owned()));
        self
    }

    fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    #[expect(dead_code, reason = "for rows that ask for something")]
    fn query(mut self, query: &str) -> Self {
        self.query = query.to_owned();
        self
    }

    #[expect(dead_code, reason = "for rows that partners may call")]
    fn other(mut self, other: Other) -> Self {
        self.other = Some(other);
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

/// Every operation of the document. Each call is about things of the partner `ana`.
pub fn rows(world: &World) -> Vec<Row> {
    use Rule::{Read, Write};
    let key = json!({ "name": "cron", "permissions": ["keys:write"] });
    vec![
        get("/alerts", Read("reconcile:read")),
        post("/alerts/{alertId}/close", Write("reconcile:write"), 204)
            .id("alertId", "al_1")
            .body(json!({ "note": "seen" })),
        get("/audit", Read("audit:read")),
        get("/keys", Read("keys:read")),
        post("/keys", Write("keys:write"), 201).body(key),
        delete("/keys/{keyId}", Write("keys:write")).id("keyId", &world.key),
        post("/finance/payouts/{payoutId}/approve", Rule::Approver, 200)
            .id("payoutId", &world.payout)
            .body(json!({ "note": "seen" })),
        post("/finance/payouts/{payoutId}/cancel", Write("payouts:write"), 200)
            .id("payoutId", &world.payout)
            .body(json!({ "reason": "a mistake" })),
        post("/finance/payouts/{payoutId}/retry", Write("payouts:write"), 201)
            .id("payoutId", &world.payout),
        // It is not in review: whoever may ask is told so.
        post("/finance/payouts/{payoutId}/mark", Write("payouts:write"), 409)
            .id("payoutId", &world.payout)
            .body(json!({ "finding": "paid", "reason": "the bank says so" })),
        post("/finance/payouts/{payoutId}/resend", Write("payouts:write"), 409)
            .id("payoutId", &world.payout)
            .body(json!({ "nothingWasPaid": true, "reason": "the bank says so" })),
        post("/affiliate/commissions/{commissionId}/reverse", Write("commissions:write"), 200)
            .id("commissionId", "order-0")
            .body(json!({ "refundId": "re_1", "amount": 0.5 })),
        get("/wallets", Read("wallets:read")),
        get(WALLET, Read("wallets:read")).id("affiliateId", "ana").id("currency", "USD"),
        get("/wallets/{affiliateId}/{currency}/entries", Read("wallets:read"))
            .id("affiliateId", "ana")
            .id("currency", "USD"),
        of_wallet("/wallets/{affiliateId}/{currency}/freeze", 200)
            .body(json!({ "reason": "looks odd" })),
        of_wallet("/wallets/{affiliateId}/{currency}/unfreeze", 200)
            .body(json!({ "reason": "fine" })),
        of_wallet("/wallets/{affiliateId}/{currency}/adjustments", 201)
            .body(json!({ "adjustmentId": "a-1", "amount": -0.5, "reason": "a fee" })),
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

/// A change of ana's wallet.
fn of_wallet(path: &'static str, status: u16) -> Row {
    post(path, Rule::Write("wallets:write"), status).id("affiliateId", "ana").id("currency", "USD")
}

const WALLET: &str = "/wallets/{affiliateId}/{currency}";
const ENDPOINT: &str = "/webhook-endpoints/{endpointId}";

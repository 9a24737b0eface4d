//! The HTTP server: what partners' portals, staff tools and providers call. Thin: parse, call the
//! engine or a reader of the store, render.
//!
//! It speaks plain HTTP; TLS is a proxy's in front of it. Whatever goes wrong is answered by
//! problem details (RFC 9457) with a stable `code`. A route is one line below, with who may use it.

mod affiliates;
mod alerts;
mod amount;
mod around;
mod audit_log;
mod body;
mod breaks;
mod brought;
mod commissions;
mod decisions;
mod docs;
mod door;
mod earning;
mod halts;
mod job_acts;
mod jobs;
mod keys;
mod limits;
mod me;
mod methods;
mod metrics;
mod page;
mod payout_acts;
mod payouts;
mod plans;
mod problem;
mod programs;
mod proxies;
mod rates;
mod ready;
mod requesting;
mod reversals;
mod runs;
mod schemas;
mod serve;
mod staff_methods;
mod wallets;
mod webhook_deliveries;
mod webhook_endpoints;
mod webhooks;
mod words;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{get, post};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Gatekeeper;
use crate::domain::{Access, Permission};
use crate::engine::Engine;
use crate::jobs::Runner;
use crate::notify::Notifier;
use door::Door;
use problem::Problem;

pub use metrics::{Metrics, Numbers, NumbersError};
pub use proxies::Proxies;
pub use serve::serve;

/// How much of a request is listened to, and how long an answer may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest body that is taken, in bytes.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// How long an answer may take.
    pub answer_time: Duration,
    /// Requests of one caller in a minute, on this server.
    pub requests_per_minute: u32,
    /// Proofs that may fail from one address in a minute.
    pub failed_proofs_per_minute: u32,
}

/// What the handlers share.
#[derive(Clone)]
pub struct Desk {
    pub engine: Engine,
    pub runner: Runner,
    pub gatekeeper: Gatekeeper,
    pub notifier: Notifier,
    pub limits: Limits,
    /// The origins whose pages may call from browsers; none by default.
    pub cors_origins: Arc<[String]>,
    /// Whether the API and its document are served. Providers' webhooks and what tells whether the
    /// process is well always are: they store a fact or answer a proxy, whoever hears them.
    pub serves_api: bool,
    /// Who may say for whom they ask.
    pub proxies: Proxies,
    /// Who may read `/metrics`.
    pub metrics: Metrics,
}

/// Every route of the API, with who may use it.
fn api(desk: &Desk) -> OpenApiRouter<Desk> {
    let door = Door::new(desk.clone(), OpenApiRouter::with_openapi(docs::document()));
    works(money(enrolment(door))).into_router()
}

/// Programs, the affiliates in them, and what these earn.
fn enrolment(door: Door) -> Door {
    use Permission as P;
    door.route(Access::read(P::AffiliatesRead), routes!(affiliates::list))
        .route(Access::write(P::AffiliatesWrite), routes!(affiliates::create))
        .route(Access::read(P::AffiliatesRead), routes!(affiliates::show))
        .route(Access::write(P::AffiliatesWrite), routes!(affiliates::change))
        .route(Access::read(P::AffiliatesRead), routes!(affiliates::explain))
        .route(Access::read(P::CommissionsRead), routes!(commissions::list))
        .route(Access::write(P::CommissionsWrite), routes!(commissions::create))
        .route(Access::write(P::CommissionsWrite), routes!(commissions::create_many))
        .route(Access::write(P::CommissionsWrite), routes!(commissions::process_held))
        .route(Access::read(P::CommissionsRead), routes!(commissions::show))
        .route(Access::write(P::CommissionsWrite), routes!(reversals::reverse))
        .route(Access::read(P::ProgramsRead), routes!(programs::list))
        .route(Access::write(P::ProgramsWrite), routes!(programs::create))
        .route(Access::read(P::ProgramsRead), routes!(programs::show))
        .route(Access::write(P::ProgramsWrite), routes!(programs::change))
        .route(Access::read(P::ProgramsRead), routes!(limits::show))
        .route(Access::write(P::ProgramsWrite), routes!(limits::set))
}

/// What partners see and ask for, and what staff do about payouts, wallets and methods.
fn money(door: Door) -> Door {
    use Permission as P;
    door.route(Access::PARTNER, routes!(me::show))
        .route(Access::PARTNER, routes!(me::earnings))
        .route(Access::PARTNER, routes!(methods::list, methods::add))
        .route(Access::PARTNER, routes!(methods::show, methods::change, methods::disable))
        .route(Access::PARTNER, routes!(methods::verify))
        .route(Access::PARTNER, routes!(methods::confirm))
        .open(routes!(methods::paypal_callback))
        .route(Access::read(P::MethodsRead), routes!(staff_methods::list))
        .route(Access::write(P::MethodsWrite), routes!(staff_methods::add))
        .route(Access::write(P::MethodsWrite), routes!(staff_methods::verify))
        .route(Access::write(P::MethodsWrite), routes!(staff_methods::reject))
        .route(Access::write(P::MethodsWrite), routes!(staff_methods::disable))
        .route(Access::read_own(P::PayoutsRead), routes!(payouts::list))
        .route(Access::read_own(P::PayoutsRead), routes!(payouts::show))
        .route(Access::read_own(P::PayoutsRead), routes!(payouts::lines))
        .route(Access::write_own(P::PayoutsRequest), routes!(requesting::request))
        .route(Access::APPROVER, routes!(payout_acts::approve))
        .route(Access::write(P::PayoutsWrite), routes!(payout_acts::cancel))
        .route(Access::write(P::PayoutsWrite), routes!(payout_acts::retry))
        .route(Access::write(P::PayoutsWrite), routes!(payout_acts::mark))
        .route(Access::write(P::PayoutsWrite), routes!(payout_acts::resend))
        .route(Access::read(P::WalletsRead), routes!(wallets::list))
        .route(Access::read(P::WalletsRead), routes!(wallets::show))
        .route(Access::read(P::WalletsRead), routes!(wallets::entries))
        .route(Access::write(P::WalletsWrite), routes!(wallets::freeze))
        .route(Access::write(P::WalletsWrite), routes!(wallets::unfreeze))
        .route(Access::write(P::WalletsWrite), routes!(wallets::adjust))
}

/// What runs when, what a person has to look at, and who else is let in or told.
fn works(door: Door) -> Door {
    use Permission as P;
    door.route(Access::read(P::ReconcileRead), routes!(alerts::list))
        .route(Access::write(P::ReconcileWrite), routes!(alerts::close))
        .route(Access::read(P::AuditRead), routes!(audit_log::list))
        .route(Access::read(P::JobsRead), routes!(halts::list))
        .route(Access::STAFF, routes!(halts::set))
        .route(Access::STAFF, routes!(halts::lift))
        .route(Access::read(P::JobsRead), routes!(jobs::list))
        .route(Access::read(P::JobsRead), routes!(jobs::show))
        .route(Access::write(P::JobsWrite), routes!(jobs::dry_run))
        .route(Access::read(P::JobsRead), routes!(jobs::next))
        .route(Access::write(P::JobsWrite), routes!(job_acts::backfill))
        .route(Access::write(P::JobsWrite), routes!(jobs::pause))
        .route(Access::write(P::JobsWrite), routes!(jobs::resume))
        .route(Access::write(P::JobsWrite), routes!(jobs::run))
        .route(Access::write(P::JobsWrite), routes!(plans::make))
        .route(Access::read(P::JobsRead), routes!(plans::show))
        .route(Access::read(P::KeysRead), routes!(keys::list))
        .route(Access::STAFF, routes!(keys::create))
        .route(Access::STAFF, routes!(keys::revoke))
        .route(Access::read(P::ReconcileRead), routes!(breaks::list))
        .route(Access::write(P::ReconcileWrite), routes!(breaks::close))
        .route(Access::read(P::JobsRead), routes!(runs::list))
        .route(Access::read(P::JobsRead), routes!(runs::show))
        .route(Access::write(P::JobsWrite), routes!(job_acts::cancel))
        .route(Access::read(P::JobsRead), routes!(runs::decisions))
        .route(Access::read(P::JobsRead), routes!(runs::log))
        .route(Access::write(P::JobsWrite), routes!(job_acts::retry))
        .route(Access::read(P::WebhooksRead), routes!(webhook_deliveries::list))
        .route(Access::write(P::WebhooksWrite), routes!(webhook_deliveries::replay))
        .route(Access::read(P::WebhooksRead), routes!(webhook_endpoints::list))
        .route(Access::write(P::WebhooksWrite), routes!(webhook_endpoints::add))
        .route(Access::read(P::WebhooksRead), routes!(webhook_endpoints::show))
        .route(Access::write(P::WebhooksWrite), routes!(webhook_endpoints::change))
        .route(Access::write(P::WebhooksWrite), routes!(webhook_endpoints::delete))
        .route(Access::write(P::WebhooksWrite), routes!(webhook_endpoints::rotate))
}

fn routes(desk: Desk) -> Router {
    let (api, document) = api(&desk).split_for_parts();
    let spoken = if desk.serves_api { api.merge(docs::pages(document)) } else { Router::new() };
    let (clock, time) = (desk.engine.clock.clone(), desk.limits.answer_time);
    let origins = Arc::clone(&desk.cors_origins);
    let routes = spoken
        .route("/livez", get(alive))
        .route("/readyz", get(ready::show))
        .route("/metrics", get(metrics::show))
        .route("/webhooks/{provider}/{org}", post(webhooks::receive))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(desk);
    around::layers(routes, clock, time, &origins)
}

/// The process is up and answers.
async fn alive() -> &'static str {
    "ok\n"
}

async fn no_such_path(uri: Uri) -> Problem {
    let detail = format!("there is nothing at {}", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "no_such_path", detail)
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

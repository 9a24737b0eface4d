//! `/readyz`: whether a proxy may send callers here. What a provider does is not asked: a rail that
//! is down is no reason to take the portal away.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;

use super::Desk;
use super::problem::{self, Problem};

/// How long the database may take to say that it is there.
const LONGEST: Duration = Duration::from_secs(2);

/// The process is not on its way out, its database answers and has the tables that this program
/// expects, and the schedules are being looked at.
pub(super) async fn show(State(desk): State<Desk>) -> Result<&'static str, Problem> {
    let Some(detail) = missing(&desk).await else { return Ok("ok\n") };
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail);
    Err(problem.retry_after(problem::RETRY_AFTER_S))
}

/// What is not as it has to be.
async fn missing(desk: &Desk) -> Option<&'static str> {
    let (pulse, store) = (&desk.runner.pulse, &desk.engine.store);
    if pulse.draining() {
        return Some("this process is on its way out");
    }
    match tokio::time::timeout(LONGEST, store.is_up_to_date()).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => {
            return Some("the database's tables are not this program's: run `payoutd db migrate`");
        }
        Ok(Err(_)) | Err(_) => return Some("the database does not answer"),
    }
    if !pulse.is_fresh(desk.engine.clock.now()) {
        return Some("the schedules have not been looked at for 30 seconds");
    }
    None
}

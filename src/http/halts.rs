//! Halts: staff stop money of their org from leaving, and let it go again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Desk;
use super::brought::{Body, Ids, checked_text};
use super::door::Who;
use super::problem::{Problem, ProblemBody};
use crate::domain::{Halt, HaltScope, MethodKind, OrgId, ProgramId};
use crate::store::HaltRow;

/// Something that is halted: nothing of it is sent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Halted {
    scope: HaltScope,
    /// The rail or the program; empty where the scope says it all.
    subject: String,
    /// Whether it is halted in every org of the installation: then its operator lifts it.
    in_every_org: bool,
    reason: String,
    halted_by: String,
    halted_at: DateTime<Utc>,
}

/// Everything halted that the org falls under.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Halts {
    data: Vec<Halted>,
}

/// Why something is halted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Halting {
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    reason: String,
}

impl From<HaltRow> for Halted {
    fn from(row: HaltRow) -> Self {
        Self {
            scope: row.scope,
            subject: row.subject,
            in_every_org: row.org_id == "*",
            reason: row.reason,
            halted_by: row.halted_by,
            halted_at: row.halted_at,
        }
    }
}

/// What a caller means. Everything is theirs to stop only if no other org is there to be stopped.
async fn meant(desk: &Desk, org: &OrgId, scope: HaltScope, subject: &str) -> Result<Halt, Problem> {
    let unknown =
        |what: &str| Problem::not_found("no_such_subject", format!("\"{subject}\" is no {what}"));
    Ok(match scope {
        HaltScope::Org if subject == org.as_str() => Halt::org(org),
        HaltScope::Org => return Err(unknown("org that you act for")),
        HaltScope::Provider => {
            let kind: MethodKind = subject.parse().map_err(|_| unknown("rail"))?;
            Halt::provider(kind, Some(org))
        }
        HaltScope::Program => {
            let program: ProgramId = subject.parse().map_err(|_| unknown("program"))?;
            Halt::program(org, &program)
        }
        HaltScope::Everything if subject != "all" => return Err(unknown("name for everything")),
        HaltScope::Everything => {
            if desk.engine.store.orgs().await?.iter().any(|other| other != org) {
                let detail = "other orgs would be stopped as well: halt your org, or ask the \
                              operator of the installation";
                return Err(Problem::forbidden("not_the_only_org", detail));
            }
            Halt::everything()
        }
    })
}

/// List what is halted
///
/// What your org falls under, whoever halted it.
#[utoipa::path(get, path = "/halts", tag = "halts", operation_id = "listHalts",
    responses((status = 200, body = Halts)))]
pub(super) async fn list(State(desk): State<Desk>, who: Who) -> Result<Json<Halts>, Problem> {
    let rows = desk.engine.store.halts(Some(who.org())).await?;
    Ok(Json(Halts { data: rows.into_iter().map(Halted::from).collect() }))
}

/// Halt something
///
/// Within a second nothing of it is sent any more, by whichever process; nothing is cancelled, and
/// people may go on asking: what they ask for waits. `org` takes your org's id, `provider` a rail
/// (`paypal`), `program` a program's id, `everything` the word `all`, if yours is the only org.
/// What is halted already keeps its first reason.
#[utoipa::path(put, path = "/halts/{scope}/{subject}", tag = "halts", operation_id = "halt",
    params(("scope" = HaltScope, Path), ("subject" = String, Path)), request_body = Halting,
    responses((status = 204, description = "It is halted."),
        (status = 404, body = ProblemBody, content_type = "application/problem+json",
         description = "There is nothing of that name.")))]
pub(super) async fn set(
    State(desk): State<Desk>,
    who: Who,
    Ids((scope, subject)): Ids<(HaltScope, String)>,
    Body(halting): Body<Halting>,
) -> Result<StatusCode, Problem> {
    let halt = meant(&desk, who.org(), scope, &subject).await?;
    let reason = checked_text("reason", halting.reason)?;
    desk.engine.halt(&who.work(), &halt, &reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lift a halt
///
/// What waits is sent by the next run of `submit-transfers`.
#[utoipa::path(delete, path = "/halts/{scope}/{subject}", tag = "halts", operation_id = "liftHalt",
    params(("scope" = HaltScope, Path), ("subject" = String, Path)),
    responses((status = 204, description = "It is not halted any more."),
        (status = 404, body = ProblemBody, content_type = "application/problem+json",
         description = "It is not halted.")))]
pub(super) async fn lift(
    State(desk): State<Desk>,
    who: Who,
    Ids((scope, subject)): Ids<(HaltScope, String)>,
) -> Result<StatusCode, Problem> {
    let halt = meant(&desk, who.org(), scope, &subject).await?;
    desk.engine.lift(&who.work(), &halt, "lifted").await?;
    Ok(StatusCode::NO_CONTENT)
}

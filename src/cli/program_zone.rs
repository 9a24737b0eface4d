//! `program show` and `program timezone`: a program as it stands, and the zone of its periods.

use clap::Args;
use serde_json::json;

use super::exit::UsageError;
use super::output::{Output, money};
use super::{App, Exit};
use crate::domain::{IdError, Money, ProgramId, zone_named};
use crate::engine::{EngineError, ProgramChange};

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Id of the program
    program: String,
    /// Org; may be left out if there is only one
    #[arg(long)]
    org: Option<String>,
}

#[derive(Debug, Args)]
pub struct ZoneArgs {
    /// Id of the program
    program: String,
    /// An IANA name such as Europe/Berlin
    #[arg(conflicts_with = "of_job", required_unless_present = "of_job")]
    zone: Option<String>,
    /// The zone of the job that pays
    #[arg(long)]
    of_job: bool,
    /// Org; may be left out if there is only one
    #[arg(long)]
    org: Option<String>,
}

fn id_of(text: &str) -> Result<ProgramId, UsageError> {
    text.parse().map_err(|error: IdError| UsageError(error.to_string()))
}

/// Shows a program.
pub async fn show(app: &App, output: Output, args: ShowArgs) -> anyhow::Result<Exit> {
    let (org, program_id) = (app.org(args.org.as_deref()).await?, id_of(&args.program)?);
    let store = &app.engine.store;
    let program = store.program(&org, &program_id).await?;
    let program = program.ok_or(EngineError::UnknownProgram { program_id })?;
    let terms = store.terms(&org, &[&program.program_id]).await?;
    let text = |minor, currency| Money::new(minor, currency).to_string();
    if output.json {
        let currencies: Vec<_> = terms
            .iter()
            .map(|terms| {
                json!({
                    "currency": terms.currency,
                    "min_payout": text(terms.min_payout_minor, terms.currency),
                    "approval_above": terms.approval_minor.map(|minor| text(minor, terms.currency)),
                })
            })
            .collect();
        output.json(&json!({
            "program": program.program_id, "title": program.title, "status": program.status,
            "hold_days": program.hold_days, "auto_credit": program.auto_credit == 1,
            "auto_payout": program.auto_payout == 1, "timezone": program.timezone,
            "currencies": currencies,
        }))?;
        return Ok(Exit::Done);
    }
    let yes = |flag: i64| if flag == 1 { "yes" } else { "no" };
    let mut words = format!(
        "{}  {}  {}\n  hold {} days, credits by itself: {}, paid by schedule: {}\n  time zone: {}",
        program.program_id,
        program.title,
        program.status,
        program.hold_days,
        yes(program.auto_credit),
        yes(program.auto_payout),
        program.timezone.as_deref().unwrap_or("that of the job that pays"),
    );
    for terms in &terms {
        let amount = |minor| money(Money::new(minor, terms.currency));
        words += &format!("\n  pays from {}", amount(terms.min_payout_minor));
        if let Some(above) = terms.approval_minor {
            words += &format!(", after an approval above {}", amount(above));
        }
    }
    output.text(&words)?;
    Ok(Exit::Done)
}

/// Says which zone a program's periods and days are read in.
pub async fn set(app: &App, output: Output, args: ZoneArgs) -> anyhow::Result<Exit> {
    let (org, id) = (app.org(args.org.as_deref()).await?, id_of(&args.program)?);
    if let Some(zone) = &args.zone {
        zone_named(zone).map_err(|error| UsageError(error.to_string()))?;
    }
    let change = ProgramChange { timezone: Some(args.zone.clone()), ..ProgramChange::default() };
    app.engine.change_program(&app.work(), &org, &id, &change).await?;
    if output.json {
        output.json(&json!({"program": id, "timezone": args.zone}))?;
    } else {
        let zone = args.zone.as_deref().unwrap_or("the zone of the job that pays");
        output.text(&format!("periods and days of {id} are read in {zone}, from now on"))?;
    }
    Ok(Exit::Done)
}

//! `halt`: the switch that stops money from leaving, and lets it go again.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::UsageError;
use super::output::{Output, table, time};
use super::{App, Exit};
use crate::config::Config;
use crate::domain::{Halt, IdError, MethodKind, ProgramId, UnknownWord};
use crate::store::HaltRow;

#[derive(Debug, Subcommand)]
pub enum HaltCommand {
    /// Send nothing at all, in any org
    Everything {
        #[command(flatten)]
        why: Why,
    },
    /// Send nothing of one org
    Org {
        /// The org
        org: String,
        #[command(flatten)]
        why: Why,
    },
    /// Send nothing by one rail
    Provider {
        /// The rail: paypal, stripe-connect, ach or wire
        kind: String,
        /// In this org alone; in every org if left out
        #[arg(long)]
        org: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Send nothing of one program
    Program {
        /// Id of the program
        program: String,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// What is halted, by whom and why
    List,
    /// Let what was halted be sent again
    Lift {
        #[command(subcommand)]
        what: What,
    },
}

/// What a halt is about, where it is lifted.
#[derive(Debug, Subcommand)]
pub enum What {
    /// The halt of everything
    Everything {
        #[command(flatten)]
        sure: Sure,
    },
    /// The halt of one org
    Org {
        /// The org
        org: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// The halt of one rail
    Provider {
        /// The rail: paypal, stripe-connect, ach or wire
        kind: String,
        /// The halt in this org alone
        #[arg(long)]
        org: Option<String>,
        #[command(flatten)]
        sure: Sure,
    },
    /// The halt of one program
    Program {
        /// Id of the program
        program: String,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
        #[command(flatten)]
        sure: Sure,
    },
}

#[derive(Debug, Args)]
pub struct Why {
    /// Why, for the record
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    reason: String,
}

#[derive(Debug, Args)]
pub struct Sure {
    /// Money leaves again: say that you mean it
    #[arg(long, required = true)]
    yes: bool,
    /// Why, for the record
    #[arg(long, default_value = "lifted")]
    reason: String,
}

/// Runs one `halt` command.
pub async fn run(config: &Config, output: Output, command: HaltCommand) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    let exit = match command {
        HaltCommand::List => list(output, &app.engine.store.halts(None).await?),
        HaltCommand::Everything { why } => set(&app, output, &Halt::everything(), &why).await,
        HaltCommand::Org { org, why } => {
            set(&app, output, &Halt::org(&app.org(Some(&org)).await?), &why).await
        }
        HaltCommand::Provider { kind, org, why } => {
            set(&app, output, &provider(&app, &kind, org.as_deref()).await?, &why).await
        }
        HaltCommand::Program { program: id, org, why } => {
            set(&app, output, &program(&app, &id, org.as_deref()).await?, &why).await
        }
        HaltCommand::Lift { what } => lift(&app, output, what).await,
    };
    app.engine.store.close().await;
    exit
}

async fn provider(app: &App, kind: &str, org: Option<&str>) -> anyhow::Result<Halt> {
    let kind: MethodKind =
        kind.parse().map_err(|error: UnknownWord| UsageError(error.to_string()))?;
    let org = match org {
        Some(org) => Some(app.org(Some(org)).await?),
        None => None,
    };
    Ok(Halt::provider(kind, org.as_ref()))
}

async fn program(app: &App, id: &str, org: Option<&str>) -> anyhow::Result<Halt> {
    let id: ProgramId = id.parse().map_err(|error: IdError| UsageError(error.to_string()))?;
    Ok(Halt::program(&app.org(org).await?, &id))
}

async fn set(app: &App, output: Output, halt: &Halt, why: &Why) -> anyhow::Result<Exit> {
    let begun = app.engine.halt(&app.work(), halt, &why.reason).await?;
    if output.json {
        output.json(&json!({"halted": halt.to_string(), "begun": begun}))?;
    } else if begun {
        output.text(&format!("halted: {halt}. Nothing of it is sent until `payoutd halt lift`"))?;
    } else {
        output.text(&format!("{halt} is halted already: see `payoutd halt list`"))?;
    }
    Ok(if begun { Exit::Done } else { Exit::Refused })
}

async fn lift(app: &App, output: Output, what: What) -> anyhow::Result<Exit> {
    let (halt, sure) = match what {
        What::Everything { sure } => (Halt::everything(), sure),
        What::Org { org, sure } => (Halt::org(&app.org(Some(&org)).await?), sure),
        What::Provider { kind, org, sure } => (provider(app, &kind, org.as_deref()).await?, sure),
        What::Program { program: id, org, sure } => {
            (program(app, &id, org.as_deref()).await?, sure)
        }
    };
    app.engine.lift(&app.work(), &halt, &sure.reason).await?;
    if output.json {
        output.json(&json!({"lifted": halt.to_string()}))?;
    } else {
        output.text(&format!("lifted: {halt}"))?;
    }
    Ok(Exit::Done)
}

fn list(output: Output, halts: &[HaltRow]) -> anyhow::Result<Exit> {
    if output.json {
        let value = |halt: &HaltRow| -> Value {
            json!({
                "org": halt.org_id, "scope": halt.scope, "subject": halt.subject,
                "reason": halt.reason, "halted_by": halt.halted_by, "halted_at": halt.halted_at,
            })
        };
        output.json(&halts.iter().map(value).collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    let row = |halt: &HaltRow| {
        vec![
            halt.org_id.clone(),
            halt.scope.to_string(),
            halt.subject.clone(),
            time(halt.halted_at),
            halt.halted_by.clone(),
            halt.reason.clone(),
        ]
    };
    let headings = ["org", "halted", "which", "since", "by", "why"];
    output.text(&table(&headings, &[], halts.iter().map(row).collect()))?;
    Ok(Exit::Done)
}

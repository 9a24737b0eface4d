//! How the process ends.

use std::process::ExitCode;

use thiserror::Error;

use crate::access::{AccessError, KeyError};
use crate::config::ConfigError;
use crate::engine::{EngineError, PlanError};
use crate::import::ImportError;
use crate::jobs::{CatalogError, JobError, NotPlanned, RunError};
use crate::notify::NotifyError;
use crate::providers::Problem;
use crate::store::StoreError;
use crate::vault::VaultError;

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done,
    Failed,
    Usage,
    Partly,
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Partly => 3,
            Exit::Refused => 4,
        })
    }
}

/// An argument that cannot be used.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// The exit code of an error, by what kind of error is in its chain.
pub fn exit_code_of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(known).unwrap_or(Exit::Failed)
}

fn known(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if cause.is::<AccessError>() || cause.is::<NotPlanned>() {
        return Some(Exit::Usage);
    }
    if cause.is::<UsageError>() || cause.is::<ConfigError>() || cause.is::<CatalogError>() {
        return Some(Exit::Usage);
    }
    if cause.downcast_ref::<Problem>().is_some_and(|problem| problem.code == "bad_settings") {
        return Some(Exit::Usage);
    }
    if let Some(error) = cause.downcast_ref::<VaultError>() {
        // What does not open was changed; the other ones are keys that are not as they should be.
        let changed =
            matches!(error, VaultError::DoesNotOpen { .. } | VaultError::NotSealed { .. });
        return Some(if changed { Exit::Failed } else { Exit::Usage });
    }
    if matches!(cause.downcast_ref(), Some(StoreError::UnknownUrl)) {
        return Some(Exit::Usage);
    }
    if matches!(cause.downcast_ref(), Some(KeyError::NoKey { .. } | KeyError::Unusable(_))) {
        return Some(Exit::Usage);
    }
    if let Some(EngineError::Plan(error)) = cause.downcast_ref() {
        use PlanError::{Ambiguous, NotAHash, Unknown};
        let unknown = matches!(error, Unknown { .. } | NotAHash { .. } | Ambiguous { .. });
        return Some(if unknown { Exit::Usage } else { Exit::Refused });
    }
    if let Some(error) = cause.downcast_ref::<EngineError>() {
        use EngineError::{
            BadAmount, NoAlert, NoBreak, NoCommission, NoPayout, NoProgram, NoWallet,
            UnknownProgram,
        };
        let unknown = matches!(
            error,
            NoAlert { .. }
                | NoBreak { .. }
                | NoCommission { .. }
                | NoPayout { .. }
                | NoProgram { .. }
                | NoWallet { .. }
                | UnknownProgram { .. }
                | BadAmount { .. }
        );
        if unknown {
            return Some(Exit::Usage);
        }
        return error.is_refusal().then_some(Exit::Refused);
    }
    if let Some(error) = cause.downcast_ref::<NotifyError>() {
        let unknown = matches!(error, NotifyError::Store(_) | NotifyError::Client(_));
        return (!unknown).then_some(Exit::Usage);
    }
    match cause.downcast_ref() {
        Some(JobError::Catalog(_) | JobError::NoRun { .. } | JobError::BadSpan(_)) => {
            return Some(Exit::Usage);
        }
        // What is behind a transparent error is not in the chain.
        Some(JobError::Engine(error)) => return known(error),
        Some(_) => return Some(Exit::Refused),
        None => {}
    }
    match cause.downcast_ref() {
        Some(RunError::Catalog(_)) => return Some(Exit::Usage),
        Some(RunError::AlreadyRunning { .. }) => return Some(Exit::Refused),
        _ => {}
    }
    matches!(cause.downcast_ref(), Some(ImportError::Open(_))).then_some(Exit::Usage)
}

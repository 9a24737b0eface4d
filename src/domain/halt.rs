//! Halts: what a person stopped from being sent.

use super::words::words;
use super::{MethodKind, OrgId, ProgramId};

words! {
    /// How far a halt reaches.
    HaltScope as "halt" {
        /// Every org of the installation.
        Everything = "everything",
        /// One org.
        Org = "org",
        /// One rail, in one org or in all.
        Provider = "provider",
        /// One program of an org.
        Program = "program",
    }
}

/// Something to halt. Nothing of it is sent until the halt is lifted; nothing is cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    /// `None`: in every org.
    pub org: Option<OrgId>,
    pub scope: HaltScope,
    /// The rail or the program; empty where the scope says it all.
    pub subject: String,
}

impl Halt {
    /// Everything.
    pub fn everything() -> Self {
        Self { org: None, scope: HaltScope::Everything, subject: String::new() }
    }

    /// One org.
    pub fn org(org: &OrgId) -> Self {
        Self { org: Some(org.clone()), scope: HaltScope::Org, subject: String::new() }
    }

    /// A rail, in one org or in all.
    pub fn provider(kind: MethodKind, org: Option<&OrgId>) -> Self {
        let subject = kind.as_str().to_owned();
        Self { org: org.cloned(), scope: HaltScope::Provider, subject }
    }

    /// A program of an org.
    pub fn program(org: &OrgId, program: &ProgramId) -> Self {
        let subject = program.to_string();
        Self { org: Some(org.clone()), scope: HaltScope::Program, subject }
    }

    /// The org as it is stored: `*` for all of them.
    pub fn org_key(&self) -> &str {
        self.org.as_ref().map_or("*", OrgId::as_str)
    }
}

impl std::fmt::Display for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.scope {
            HaltScope::Everything => return f.pad("everything"),
            HaltScope::Org => return write!(f, "org {}", self.org_key()),
            HaltScope::Provider | HaltScope::Program => format!("{} {}", self.scope, self.subject),
        };
        match &self.org {
            None => write!(f, "{what} in every org"),
            Some(org) => write!(f, "{what} of org {org}"),
        }
    }
}

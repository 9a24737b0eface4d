//! What a job is limited to.

use serde::{Deserialize, Serialize};

use super::{Currency, MethodKind, OrgId, ProgramId};

/// A job's limits; an empty list limits nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    pub orgs: Vec<OrgId>,
    pub programs: Vec<ProgramId>,
    pub methods: Vec<MethodKind>,
    pub currencies: Vec<Currency>,
}

impl Scope {
    /// Whether the org is within it.
    pub fn has_org(&self, org: &OrgId) -> bool {
        within(&self.orgs, org)
    }

    /// Whether the program is within it.
    pub fn has_program(&self, program: &ProgramId) -> bool {
        within(&self.programs, program)
    }

    /// Whether the rail is within it.
    pub fn has_method(&self, method: MethodKind) -> bool {
        within(&self.methods, &method)
    }

    /// Whether the currency is within it.
    pub fn has_currency(&self, currency: Currency) -> bool {
        within(&self.currencies, &currency)
    }
}

fn within<T: PartialEq>(list: &[T], item: &T) -> bool {
    list.is_empty() || list.contains(item)
}

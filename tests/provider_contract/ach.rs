//! ACH, against the sandbox's bank.

use payoutd::domain::MethodKind;

use crate::bank::AtBank;

pub async fn open() -> AtBank {
    AtBank::open(MethodKind::Ach)
}

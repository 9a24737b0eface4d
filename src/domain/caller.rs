//! Who calls, and what they may do. A token or a key is proven elsewhere; here it is a [`Caller`].

use super::words::words;
use super::{Actor, OrgId};

words! {
    /// What a caller is. A token may carry several.
    Role as "role" {
        /// The person behind one or several affiliates: sees and asks for their own only.
        Partner = "partner",
        /// Somebody of the operator's.
        Staff = "staff",
        /// Somebody of the operator's who may let a payout go.
        Approver = "approver",
        /// A program: what it may do is said by its permissions.
        Service = "service",
    }
}

words! {
    /// What a service may be allowed to do.
    Permission as "permission" {
        ProgramsRead = "programs:read",
        ProgramsWrite = "programs:write",
        AffiliatesRead = "affiliates:read",
        AffiliatesWrite = "affiliates:write",
        CommissionsRead = "commissions:read",
        CommissionsWrite = "commissions:write",
        WalletsRead = "wallets:read",
        WalletsWrite = "wallets:write",
        PayoutsRead = "payouts:read",
        PayoutsRequest = "payouts:request",
        PayoutsWrite = "payouts:write",
        MethodsRead = "methods:read",
        MethodsWrite = "methods:write",
        JobsRead = "jobs:read",
        JobsWrite = "jobs:write",
        ReconcileRead = "reconcile:read",
        ReconcileWrite = "reconcile:write",
        AuditRead = "audit:read",
        WebhooksRead = "webhooks:read",
        WebhooksWrite = "webhooks:write",
        KeysRead = "keys:read",
    }
}

/// Who calls: proven by a token or a key, and bound to one org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub org: OrgId,
    /// The partner's or staff member's id (`sub`), or the key's.
    pub id: String,
    pub roles: Vec<Role>,
    /// What it may do where it calls as a service.
    pub permissions: Vec<Permission>,
}

/// Who may use a route: any of the roles, or a service with the permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Never holds [`Role::Service`]: services come in by the permission alone.
    pub roles: &'static [Role],
    pub permission: Option<Permission>,
}

impl Access {
    /// What partners see of themselves; nobody else is one.
    pub const PARTNER: Self = Self { roles: &[Role::Partner], permission: None };
    /// What staff decide, and no program: a key that makes keys would outlive its own end.
    pub const STAFF: Self = Self { roles: &[Role::Staff], permission: None };
    /// What a person who approves does, and no program.
    pub const APPROVER: Self = Self { roles: &[Role::Approver], permission: None };

    /// What staff look at.
    pub const fn read(permission: Permission) -> Self {
        Self { roles: &[Role::Staff, Role::Approver], permission: Some(permission) }
    }

    /// What staff change.
    pub const fn write(permission: Permission) -> Self {
        Self { roles: &[Role::Staff], permission: Some(permission) }
    }

    /// What staff look at for everybody, and partners for themselves.
    pub const fn read_own(permission: Permission) -> Self {
        Self { roles: &[Role::Partner, Role::Staff, Role::Approver], permission: Some(permission) }
    }

    /// What staff do for anybody, and partners for themselves.
    pub const fn write_own(permission: Permission) -> Self {
        Self { roles: &[Role::Partner, Role::Staff], permission: Some(permission) }
    }

    /// The caller as it may use the route, if it may: with the roles alone that let it in. Who is a
    /// partner as well as something that does not get in here acts as a partner, for their own.
    pub fn admit(&self, mut caller: Caller) -> Option<Caller> {
        if !self.allows(&caller) {
            return None;
        }
        let by_permission = self.permission.is_some_and(|it| caller.permissions.contains(&it));
        let lets_in = |role: &Role| match role {
            Role::Service => by_permission,
            role => self.roles.contains(role),
        };
        caller.roles.retain(lets_in);
        Some(caller)
    }

    /// Whether `caller` may use the route.
    pub fn allows(&self, caller: &Caller) -> bool {
        let by_permission =
            |wanted| caller.is(Role::Service) && caller.permissions.contains(&wanted);
        self.roles.iter().any(|role| caller.is(*role)) || self.permission.is_some_and(by_permission)
    }
}

impl Caller {
    /// Whether the caller has the role.
    pub fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether it is a partner and nothing more: then everything is about their own alone.
    pub fn is_only_partner(&self) -> bool {
        self.roles == [Role::Partner]
    }

    /// The caller, for the record: `staff:ann`, `partner:alex`, `service:key_…`.
    pub fn actor(&self) -> Actor {
        let order = [Role::Approver, Role::Staff, Role::Service, Role::Partner];
        let role = order.into_iter().find(|role| self.is(*role)).unwrap_or(Role::Partner);
        // Staff who may also approve are staff, so that one person is one actor.
        let role = if role == Role::Approver { Role::Staff } else { role };
        Actor::caller(role.as_str(), &self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(roles: &[Role], permissions: &[Permission]) -> Caller {
        let org = "acme".parse().expect("an id");
        let (roles, permissions) = (roles.to_vec(), permissions.to_vec());
        Caller { org, id: "ann".into(), roles, permissions }
    }

    #[test]
    fn a_service_passes_by_its_permission_alone() {
        let access = Access::write(Permission::CommissionsWrite);
        assert!(access.allows(&caller(&[Role::Service], &[Permission::CommissionsWrite])));
        assert!(!access.allows(&caller(&[Role::Service], &[Permission::CommissionsRead])));
        assert!(!access.allows(&caller(&[Role::Partner], &[Permission::CommissionsWrite])));
        assert!(!Access::APPROVER.allows(&caller(&[Role::Service], Permission::ALL)));
    }

    #[test]
    fn a_partner_passes_nowhere_but_where_partners_are_named() {
        let partner = caller(&[Role::Partner], &[]);
        for permission in Permission::ALL {
            assert!(!Access::read(*permission).allows(&partner), "{permission}");
            assert!(!Access::write(*permission).allows(&partner), "{permission}");
        }
        assert!(Access::PARTNER.allows(&partner));
        assert!(!Access::PARTNER.allows(&caller(&[Role::Staff], &[])));
    }

    #[test]
    fn who_wears_several_hats_passes_by_those_that_fit_alone() {
        let read = Access::read_own(Permission::PayoutsRead);
        let write = Access::write_own(Permission::PayoutsRequest);
        let admitted = |access: &Access, roles: &[Role], permissions: &[Permission]| {
            access.admit(caller(roles, permissions)).expect("it is let in").roles
        };
        let both = [Role::Partner, Role::Approver];
        assert_eq!(admitted(&read, &both, &[]), both);
        assert_eq!(admitted(&write, &both, &[]), [Role::Partner]);
        let served = [Role::Partner, Role::Service];
        assert_eq!(admitted(&read, &served, &[Permission::PayoutsRead]), served);
        assert_eq!(admitted(&read, &served, &[Permission::JobsRead]), [Role::Partner]);
        assert_eq!(read.admit(caller(&[Role::Service], &[Permission::JobsRead])), None);
    }

    #[test]
    fn an_approver_looks_and_does_not_change() {
        let approver = caller(&[Role::Approver], &[]);
        assert!(Access::read(Permission::PayoutsRead).allows(&approver));
        assert!(!Access::write(Permission::PayoutsWrite).allows(&approver));
    }

    #[test]
    fn one_person_is_one_actor_whichever_hat_they_wear() {
        let actor = |roles: &[Role]| caller(roles, &[]).actor();
        assert_eq!(actor(&[Role::Staff]), actor(&[Role::Approver]));
        assert_ne!(actor(&[Role::Staff]), actor(&[Role::Partner]));
    }
}

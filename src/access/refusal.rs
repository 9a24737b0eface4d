//! Why a caller is not let in.

/// What sort of refusal it is; http has a status for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// 400: the request itself is not in order.
    Unreadable,
    /// 401: who calls is not proven.
    Unproven,
    /// 403: who calls is known, and not let in.
    Forbidden,
    /// 503: whether the proof holds cannot be told now.
    Unclear,
}

/// Why a caller is not let in. The code is stable, for programs; the text is for people, and holds
/// nothing of the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    pub code: &'static str,
    pub text: &'static str,
}

impl Refusal {
    pub(super) const NO_PROOF: Self = Self::unproven(
        "missing_authorization_header",
        "this needs a token (Authorization: Bearer) or an API key (x-api-key)",
    );
    pub(super) const TWO_PROOFS: Self = Self {
        kind: RefusalKind::Unreadable,
        code: "two_proofs",
        text: "bring a token or an API key, not both",
    };
    /// One word for whatever is wrong with a token: who forges one learns nothing.
    pub(super) const INVALID_TOKEN: Self =
        Self::unproven("invalid_token", "the token is not one that is taken here");
    pub(super) const TOKEN_EXPIRED: Self =
        Self::unproven("token_expired", "the token has expired: get a new one");
    pub(super) const TOKEN_TOO_EARLY: Self =
        Self::unproven("token_too_early", "the token is not valid yet");
    /// The issuer's keys were never reached: the token may well be good.
    pub(super) const NO_KEYS: Self = Self {
        kind: RefusalKind::Unclear,
        code: "keys_unavailable",
        text: "the keys that tokens are checked with cannot be reached now: try again",
    };
    pub(super) const INVALID_KEY: Self =
        Self::unproven("invalid_key", "the API key is not one that is taken here");
    pub(super) const KEY_EXPIRED: Self =
        Self::unproven("key_expired", "the API key has expired: ask for a new one");
    pub(super) const KEY_REVOKED: Self =
        Self::unproven("key_revoked", "the API key was revoked: ask for a new one");
    pub(super) const STORE_FAILED: Self = Self {
        kind: RefusalKind::Unclear,
        code: "store_busy",
        text: "the database is busy or out of reach: try again",
    };
    pub(super) const NO_ROLE: Self = Self::forbidden(
        "no_role",
        "the token's roles hold none of partner, staff, approver and service",
    );
    pub(super) const MISSING_ORGID: Self = Self {
        kind: RefusalKind::Unreadable,
        code: "missing_orgid",
        text: "the header orgid is missing: name the org that the call is about",
    };
    pub(super) const WRONG_ORG: Self =
        Self::forbidden("wrong_org", "the header orgid is not the caller's org");

    const fn unproven(code: &'static str, text: &'static str) -> Self {
        Self { kind: RefusalKind::Unproven, code, text }
    }

    const fn forbidden(code: &'static str, text: &'static str) -> Self {
        Self { kind: RefusalKind::Forbidden, code, text }
    }
}

//! What a webhook's signature is checked with: the secrets of a setting, by org.

use secrecy::{ExposeSecret, SecretString};

use crate::domain::OrgId;

/// `acme=one, acme=two, three`: a secret for one org, or for every org; several for rotation.
#[derive(Debug, Clone)]
pub(super) struct OrgSecrets(Vec<(Option<String>, SecretString)>);

impl OrgSecrets {
    /// Reads a setting. What is empty between commas, or after `=`, is no secret.
    pub(super) fn parse(setting: &str) -> Self {
        let entry = |text: &str| {
            let (org, secret) = match text.split_once('=') {
                Some((org, secret)) => (Some(org.trim().to_owned()), secret.trim()),
                None => (None, text.trim()),
            };
            (!secret.is_empty()).then(|| (org, SecretString::from(secret.to_owned())))
        };
        Self(setting.split(',').filter_map(entry).collect())
    }

    /// The secrets that hold for `org`; none if it was forgotten.
    pub(super) fn of(&self, org: &OrgId) -> Vec<&str> {
        let holds = |named: &Option<String>| named.as_ref().is_none_or(|name| name == org.as_str());
        let own = self.0.iter().filter(|(named, _)| holds(named));
        own.map(|(_, secret)| secret.expose_secret()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_for_its_org_or_for_every_org() {
        let secrets = OrgSecrets::parse(" acme=one , two,globex=three,,acme=, =four");
        let of = |org: &str| secrets.of(&org.parse().expect("an id")).join(" ");
        assert_eq!(of("acme"), "one two");
        assert_eq!(of("globex"), "two three");
        assert_eq!(of("other"), "two");
        assert!(OrgSecrets::parse(" , ").of(&"acme".parse().expect("an id")).is_empty());
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert!(!format!("{:?}", OrgSecrets::parse("acme=hunter2,hunter3")).contains("hunter"));
    }
}

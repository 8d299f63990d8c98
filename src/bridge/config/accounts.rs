//! `accounts`: who local clients are; `access`: what they may do.
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::check::Complaint;
use super::password_file::PasswordFile;
use super::{Config, Listener};
use crate::bridge::core::access::{Action, Rule, Who};
use crate::bridge::topic;
use crate::bridge::yaml::{Document, YamlError};

/// Who local clients are. Without this section nobody is asked.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    /// Users and their passwords, as `mqtt-bridge passwd` writes them; relative to the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Whether those are let in who name no user.
    #[serde(default)]
    pub anonymous: bool,
    /// What of a client's certificate is its user, on a listener that asks for one; its password is not looked at then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_user: Option<CertificateUser>,
    /// What is in `password_file`.
    #[serde(skip)]
    pub users: PasswordFile,
}

/// What of a client's certificate is its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateUser {
    /// The Common Name of its subject.
    CommonName,
    /// Its whole subject.
    Subject,
}

/// A rule about what clients may do; the first that applies decides, and what none allows is denied.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRule {
    /// Of one user, of `anonymous` (who has none), or of everybody (`"*"`).
    #[serde(default = "everybody")]
    pub user: String,
    /// Of one Client Identifier, or of those that begin so (`dev-*`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// What is allowed; or `deny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Actions>,
    /// What is denied; or `allow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<Actions>,
    /// Topic Filters; `%u` stands for the user, `%c` for the Client Identifier.
    pub topics: Vec<String>,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Actions {
    /// PUBLISH, and Wills.
    Publish,
    /// SUBSCRIBE.
    Subscribe,
    /// Both.
    Both,
}

const EVERYBODY: &str = "*";
/// Stands for those without a user, so no user is called that.
pub(super) const ANONYMOUS: &str = "anonymous";

fn everybody() -> String {
    EVERYBODY.to_owned()
}

impl AccessRule {
    fn rule(&self) -> Rule {
        let who = match self.user.as_str() {
            EVERYBODY => Who::Everybody,
            ANONYMOUS => Who::Anonymous,
            user => Who::User(user.to_owned()),
        };
        let action = match self.allow.or(self.deny) {
            Some(Actions::Publish) => Some(Action::Publish),
            Some(Actions::Subscribe) => Some(Action::Subscribe),
            Some(Actions::Both) | None => None,
        };
        let (client_id, topics) = (self.client_id.clone(), self.topics.clone());
        Rule { who, client_id, allows: self.allow.is_some(), action, topics }
    }
}

/// The rules as the core wants them; `None`: there is no section, and everything is allowed.
pub fn rules(config: &Config) -> Option<std::sync::Arc<[Rule]>> {
    config.access.as_ref().map(|rules| rules.iter().map(AccessRule::rule).collect())
}

/// Says what is wrong with `accounts` and `access`, if anything is.
pub(super) fn check(config: &Config) -> Result<(), Complaint> {
    let wrong = |key: String, what: String| Err(Complaint { key, what });
    if let Some(accounts) = &config.accounts
        && accounts.password_file.is_none()
        && accounts.certificate_user.is_none()
        && !accounts.anonymous
    {
        let what = "nobody could connect: password_file, certificate_user or `anonymous: true`";
        return wrong("accounts".to_owned(), what.to_owned());
    }
    let asks = |listener: &Listener| listener.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    if config.accounts.as_ref().is_some_and(|accounts| accounts.certificate_user.is_some())
        && !config.listeners.iter().any(asks)
    {
        let what = "no listener asks its clients for a certificate: tls.client_ca of a listener";
        return wrong("accounts.certificate_user".to_owned(), what.to_owned());
    }
    for (index, rule) in config.access.iter().flatten().enumerate() {
        let key = format!("access[{index}]");
        if rule.allow.is_some() == rule.deny.is_some() {
            return wrong(key, "`allow` or `deny`, and one of them: publish, subscribe or both".to_owned());
        }
        if rule.user.is_empty() {
            return wrong(format!("{key}.user"), "a user, `anonymous`, or `\"*\"` for everybody".to_owned());
        }
        if rule.topics.is_empty() {
            return wrong(format!("{key}.topics"), "at least one Topic Filter; `\"#\"` is all but $SYS".to_owned());
        }
        for (number, filter) in rule.topics.iter().enumerate() {
            check_topic(filter).or_else(|what| wrong(format!("{key}.topics[{number}]"), what))?;
        }
    }
    Ok(())
}

fn check_topic(filter: &str) -> Result<(), String> {
    topic::check_filter(filter)?;
    if filter.starts_with("$share/") {
        return Err(format!("`{filter}`: without `$share/group/`: a shared subscription is what follows it"));
    }
    match filter.split('%').skip(1).find(|after| !after.starts_with(['u', 'c'])) {
        Some(_) => Err(format!("`{filter}`: `%` is followed by u (the user) or c (the Client Identifier)")),
        None => Ok(()),
    }
}

/// Reads `password_file`.
pub(super) fn read(config: &mut Config, document: &Document) -> Result<(), YamlError> {
    let Some(accounts) = &mut config.accounts else { return Ok(()) };
    let Some(file) = &accounts.password_file else { return Ok(()) };
    let path = document.beside(file);
    accounts.users = PasswordFile::read(&path).map_err(|error| {
        let what = format!("{error}; `mqtt-bridge passwd {} USER` writes it", path.display());
        document.wrong("accounts.password_file", what)
    })?;
    Ok(())
}

/// What is allowed but lets more in than one may think.
pub(super) fn warnings(config: &Config, warnings: &mut Vec<String>) {
    match &config.accounts {
        None => {
            let open = |listener: &&Listener| !listener.bind.ip().is_loopback();
            for listener in config.listeners.iter().filter(open) {
                warnings.push(format!(
                    "listener {}: NO ACCOUNTS: whoever reaches it is let in{}; an `accounts` section asks for passwords",
                    listener.bind,
                    if config.access.is_some() { "" } else { ", and may publish and subscribe to everything" },
                ));
            }
        }
        Some(accounts) => {
            if accounts.anonymous && config.access.is_none() {
                warnings.push(
                    "accounts.anonymous: who names no user may publish and subscribe to everything: there are no \
                     `access` rules"
                        .to_owned(),
                );
            }
            if accounts.users.others_may_read() {
                let file = accounts.password_file.clone().unwrap_or_default();
                warnings.push(format!(
                    "accounts.password_file: {} may be read by other users of this machine: chmod 600",
                    file.display()
                ));
            }
            if accounts.password_file.is_some() && accounts.users.is_empty() {
                warnings.push("accounts.password_file: it holds no user".to_owned());
            }
            let unknown = |rule: &&AccessRule| {
                accounts.certificate_user.is_none()
                    && ![EVERYBODY, ANONYMOUS].contains(&rule.user.as_str())
                    && accounts.users.hash(&rule.user).is_none()
            };
            for rule in config.access.iter().flatten().filter(unknown) {
                warnings.push(format!("access: user `{}` is not in accounts.password_file", rule.user));
            }
        }
    }
}

//! Whether a client is who it says: passwords are verified beside the event loop, few at a time, and in their turn.
//!
//! An argon2id hash costs tens of milliseconds and 19 MiB on purpose. So that this is no lever: a few are computed at a
//! time, and of one address one; who waits has no more time than any other who is not let in; and what was right once is
//! recognized by a keyed hash that costs microseconds, kept in memory. A user that does not exist costs as much as one that
//! does.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::rand_core::{OsRng, RngCore};
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use super::config;
use super::core::client::Credentials;
use super::wire::ReasonCode;

/// What stands for the hash of a user that does not exist: nothing has this one. Its parameters are those of [`hash`].
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ib2R5$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// Hashes that are computed at a time, at most; each takes 19 MiB.
const MOST_AT_A_TIME: usize = 4;
/// The quick hash: no obstacle to guessing, which it need not be, since it is kept nowhere.
const QUICK_LENGTH: usize = 32;

/// Why a password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("hashing the password: {0}")]
pub struct HashError(argon2::password_hash::Error);

/// Hashes a password for the password file, as a PHC string (argon2id, 19 MiB, 2 passes).
///
/// # Errors
/// Where argon2 refuses it.
pub fn hash(password: &[u8]) -> Result<String, HashError> {
    let salt = SaltString::generate(&mut OsRng);
    Argon2::default().hash_password(password, &salt).map(|hash| hash.to_string()).map_err(HashError)
}

/// Knows the accounts.
#[derive(Debug)]
pub struct Accounts {
    config: config::Accounts,
    slots: Semaphore,
    /// One of an address at a time; each entry is removed by who is the last to leave.
    turns: Mutex<HashMap<IpAddr, Arc<tokio::sync::Mutex<()>>>>,
    /// Of each user whose password has been verified, the quick hash.
    known: Mutex<HashMap<String, [u8; QUICK_LENGTH]>>,
    salt: [u8; 16],
}

impl Accounts {
    /// Those that are configured.
    pub fn new(config: config::Accounts) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut salt = [0; 16];
        OsRng.fill_bytes(&mut salt);
        let (turns, known) = Default::default();
        Self { config, slots: Semaphore::new((cores / 2).clamp(1, MOST_AT_A_TIME)), turns, known, salt }
    }

    /// What of a client's certificate is its user, if anything is.
    pub fn certificate_user(&self) -> Option<config::CertificateUser> {
        self.config.certificate_user
    }

    /// The user of a client at this address; `None`: it is let in without one. `certified` is the user that its
    /// certificate names, where [`certificate_user`](Self::certificate_user) asks for it.
    ///
    /// # Errors
    /// Why it is not let in: 0x86 for a user or password that is wrong, 0x87 for none.
    pub async fn authenticate(
        &self,
        credentials: Credentials,
        certified: Option<&str>,
        address: IpAddr,
    ) -> Result<Option<String>, ReasonCode> {
        if let Some(user) = certified.filter(|user| !user.is_empty()) {
            return Ok(Some(user.to_owned()));
        }
        let (username, password) = match (credentials.username, credentials.password) {
            (None, None) if self.config.anonymous => return Ok(None),
            (None, None) => return Err(ReasonCode::NOT_AUTHORIZED),
            (Some(username), Some(password)) => (username, password),
            _ => return Err(ReasonCode::BAD_USER_NAME_OR_PASSWORD),
        };
        let quick = self.quick(&username, &password);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&username).copied();
        if quick.is_some_and(|quick| known.is_some_and(|known| same(&quick, &known))) {
            return Ok(Some(username));
        }
        let hash = self.config.users.hash(&username).unwrap_or(NOBODY).to_owned();
        if !self.verify(hash, password, address).await {
            return Err(ReasonCode::BAD_USER_NAME_OR_PASSWORD);
        }
        if let Some(quick) = quick {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(username.clone(), quick);
        }
        Ok(Some(username))
    }

    /// In its turn, on another thread. Whoever gives up waiting gives up its turn; a hash that has begun is computed.
    async fn verify(&self, hash: String, password: Vec<u8>, address: IpAddr) -> bool {
        let turn = Turn::new(self, address);
        let _alone = turn.lock.lock().await;
        let Ok(_slot) = self.slots.acquire().await else { return false };
        let verify = move || {
            PasswordHash::new(&hash).is_ok_and(|hash| Argon2::default().verify_password(&password, &hash).is_ok())
        };
        tokio::task::spawn_blocking(verify).await.unwrap_or(false)
    }

    fn quick(&self, username: &str, password: &[u8]) -> Option<[u8; QUICK_LENGTH]> {
        let params = Params::new(Params::MIN_M_COST, 1, 1, Some(QUICK_LENGTH)).ok()?;
        let both = [username.as_bytes(), b"\0", password].concat();
        let mut quick = [0; QUICK_LENGTH];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(&both, &self.salt, &mut quick)
            .ok()?;
        Some(quick)
    }
}

/// Whether they are the same, in a time that does not tell where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.iter().zip(other).fold(0, |differ, (one, other)| differ | (one ^ other)) == 0
}

struct Turn<'a> {
    accounts: &'a Accounts,
    address: IpAddr,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl<'a> Turn<'a> {
    fn new(accounts: &'a Accounts, address: IpAddr) -> Self {
        let lock = accounts.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(address).or_default().clone();
        Self { accounts, address, lock }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.accounts.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // Two hold it when nobody else waits: the map and this turn.
        if Arc::strong_count(&self.lock) <= 2 {
            turns.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn accounts(anonymous: bool) -> Accounts {
        let mut users = config::PasswordFile::default();
        users.set("alice", hash(b"secret").unwrap());
        Accounts::new(config::Accounts { password_file: None, anonymous, certificate_user: None, users })
    }

    async fn asked(accounts: &Accounts, username: Option<&str>, password: Option<&str>) -> Result<Option<String>, u8> {
        let (username, password) = (username.map(str::to_owned), password.map(|text| text.as_bytes().to_vec()));
        accounts
            .authenticate(Credentials { client_id: String::new(), username, password }, None, HERE)
            .await
            .map_err(|reason| reason.0)
    }

    #[tokio::test]
    async fn who_has_the_password_is_let_in_and_nobody_else() {
        let (closed, open) = (accounts(false), accounts(true));
        for _ in 0..2 {
            assert_eq!(asked(&closed, Some("alice"), Some("secret")).await, Ok(Some("alice".to_owned())));
            assert_eq!(asked(&closed, Some("alice"), Some("wrong")).await, Err(0x86));
        }
        assert_eq!(asked(&closed, Some("bob"), Some("secret")).await, Err(0x86));
        assert_eq!(asked(&closed, Some("alice"), None).await, Err(0x86));
        assert_eq!(asked(&closed, None, Some("secret")).await, Err(0x86));
        assert_eq!(asked(&closed, None, None).await, Err(0x87));
        assert_eq!(asked(&open, None, None).await, Ok(None));
        assert_eq!(asked(&open, Some("bob"), Some("x")).await, Err(0x86), "a user is not anonymous");
        assert!(closed.turns.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_certificate_stands_for_the_password() {
        let none = Credentials { client_id: String::new(), username: None, password: None };
        let accounts = accounts(false);
        assert_eq!(accounts.authenticate(none.clone(), Some("cn"), HERE).await, Ok(Some("cn".to_owned())));
        assert_eq!(accounts.authenticate(none, Some(""), HERE).await, Err(ReasonCode::NOT_AUTHORIZED));
    }

    #[test]
    fn nobody_has_a_hash_that_is_verified_at_the_usual_cost() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let usual = hash(b"x").unwrap();
        assert_eq!(nobody.params, PasswordHash::new(&usual).unwrap().params);
        let lengths = [&nobody, &PasswordHash::new(&usual).unwrap()].map(|hash| hash.hash.unwrap().len());
        assert_eq!(lengths[0], lengths[1]);
    }
}

//! Passwords: their digests, and how many of them are computed at one time.
//!
//! A digest takes 19 MiB and some ten milliseconds, on purpose. So it is computed away from the tasks of the runtime,
//! by few at a time, for few who wait: a flood of logins makes logins slow, and nothing else.

use std::sync::{Arc, LazyLock};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::store::{Refusal, StoreError, StoreResult};

/// Length of a password, characters, at least.
const CHARACTERS_MIN: usize = 12;

/// Length of a password, bytes, at most.
const BYTES_MAX: usize = 1024;

/// Digests that are computed at one time.
const AT_ONCE: usize = 2;

/// Who may wait for one.
const WAITING_MAX: usize = 64;

/// What is compared with where there is no user, or one without a password: so that the answer takes as long.
static NOBODY: LazyLock<String> = LazyLock::new(|| digest("nobody has this password", &[0; 16]));

/// See the module.
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)), waiting: Arc::new(Semaphore::new(WAITING_MAX)) }
    }
}

impl Passwords {
    /// The digest of a new password, in the PHC string format.
    ///
    /// # Errors
    /// When it is too short or too long; when too many wait.
    pub(crate) async fn digest(&self, password: &str, salt: [u8; 32]) -> StoreResult<String> {
        check(password)?;
        let password = password.to_owned();
        self.compute(move || digest(&password, &salt[..16])).await
    }

    /// Whether that is the password with this digest. Without a digest it is none, and takes as long.
    pub(crate) async fn is_right(&self, password: &str, digest: Option<String>) -> StoreResult<bool> {
        // What can be no password is not looked at: its length is the caller's own.
        let password = if password.len() > BYTES_MAX { String::new() } else { password.to_owned() };
        self.compute(move || {
            let is_somebody = digest.is_some();
            let right = digest.as_deref().unwrap_or(&NOBODY);
            let parsed = PasswordHash::new(right).map_err(|error| StoreError::Damaged(error.to_string()))?;
            Ok(argon2().verify_password(password.as_bytes(), &parsed).is_ok() && is_somebody)
        })
        .await?
    }

    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> StoreResult<T> {
        let failed = |error: &dyn std::fmt::Display| StoreError::Failed(error.to_string());
        let _waiting = self.waiting.try_acquire().map_err(|_| {
            StoreError::Refused(Refusal::Busy("too many passwords are being looked at; try again in a moment".into()))
        })?;
        // It goes with the work: who gives up waiting does not let another one in before it is done.
        let turn = self.turns.clone().acquire_owned().await.map_err(|error| failed(&error))?;
        let work = move || {
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| failed(&error))
    }
}

/// Whether it may be a password. Length is all that is asked for: other rules make people choose worse ones.
fn check(password: &str) -> StoreResult<()> {
    if password.chars().count() < CHARACTERS_MIN {
        return Err(StoreError::invalid(format!("the password has fewer than {CHARACTERS_MIN} characters")));
    }
    match password.len() > BYTES_MAX {
        true => Err(StoreError::invalid(format!("the password is longer than {BYTES_MAX} bytes"))),
        false => Ok(()),
    }
}

fn digest(password: &str, salt: &[u8]) -> String {
    let digest: PasswordHash =
        argon2().hash_password_with_salt(password.as_bytes(), salt).expect("lengths are checked");
    digest.to_string()
}

/// What OWASP recommends: 19 MiB, two passes, one lane.
fn argon2() -> Argon2<'static> {
    let params = Params::new(19 * 1024, 2, 1, None).expect("these are in range");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_digest() {
        let passwords = Passwords::default();
        let digest = passwords.digest("correct horse battery", [7; 32]).await.unwrap();
        assert!(digest.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{digest}");
        assert!(passwords.is_right("correct horse battery", Some(digest.clone())).await.unwrap());
        assert!(!passwords.is_right("correct horse batterz", Some(digest.clone())).await.unwrap());
        assert!(!passwords.is_right("nobody has this password", None).await.unwrap());
        assert!(passwords.is_right("x", Some("no digest".into())).await.is_err());
        assert_ne!(passwords.digest("correct horse battery", [8; 32]).await.unwrap(), digest);
    }

    #[tokio::test]
    async fn length_is_all_that_is_asked_for() {
        let passwords = Passwords::default();
        assert!(passwords.digest("elf Zeichen", [0; 32]).await.is_err());
        assert!(passwords.digest("äöüäöüäöüäöü", [0; 32]).await.is_ok());
        assert!(passwords.digest(&"x".repeat(BYTES_MAX + 1), [0; 32]).await.is_err());
    }

    #[tokio::test]
    async fn who_cannot_wait_is_told_to_come_back() {
        let passwords = Passwords::default();
        let everybody =
            passwords.waiting.clone().acquire_many_owned(u32::try_from(WAITING_MAX).unwrap()).await.unwrap();
        let error = passwords.is_right("a password of mine", None).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(Refusal::Busy(_))), "{error}");
        drop(everybody);
        assert!(!passwords.is_right("a password of mine", None).await.unwrap());
    }
}

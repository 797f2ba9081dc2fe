//! `pull`: an image from a registry, with what it tells on the way.
//!
//! The protocol is `registry`'s; here a view's words become its words and back.

use std::sync::{Mutex, PoisonError};

use model::{Platform, Reference};
use registry::{Credentials, Event, Limits, Pull, PullError, Registry, Repository, Secret};

use crate::container::now;
use crate::view::{Freshness, Progress, RegistryAuth};
use crate::{Engine, EngineError};

impl Engine {
    /// Fetches an image. `progress` is called by one thread at a time.
    ///
    /// # Errors
    /// The registry does not have it or does not give it, or what it gives is wrong. Nothing has
    /// changed but that layers begun are taken up by the next pull.
    pub fn image_pull(
        &self,
        reference: &Reference,
        platform: Option<Platform>,
        auth: RegistryAuth,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), EngineError> {
        let reference = reference.clone().with_default_tag();
        let access = self.access(&reference, platform, auth)?;
        let fresh = access.pull(self, &reference, progress)?;
        progress(Progress::Pulled { reference: reference.familiar(), fresh });
        Ok(())
    }

    /// Fetches every tag of a repository, in the registry's order; the first that fails ends it.
    ///
    /// # Errors
    /// As [`Engine::image_pull`]. The tags before it are here.
    pub fn image_pull_all(
        &self,
        repository: &Reference,
        platform: Option<Platform>,
        auth: RegistryAuth,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), EngineError> {
        let access = self.access(repository, platform, auth)?;
        let credentials = access.credentials.clone();
        let tags = access.registry.tags(&Repository { name: repository, credentials })?;
        let mut all = Freshness::UpToDate;
        for tag in &tags {
            let freshness = access.pull(self, &repository.at_tag(tag)?, progress)?;
            if freshness == Freshness::Downloaded {
                all = freshness;
            }
        }
        progress(Progress::Pulled { reference: repository.familiar_name(), fresh: all });
        Ok(())
    }

    fn access(
        &self,
        reference: &Reference,
        platform: Option<Platform>,
        auth: RegistryAuth,
    ) -> Result<Access, EngineError> {
        let registry = self.registry(reference.domain())?;
        Ok(Access { registry, platform, credentials: credentials(auth) })
    }

    /// The client of a registry, by the domain of a reference.
    pub(crate) fn registry(&self, domain: &str) -> Result<Registry, EngineError> {
        let hosts = registry::load(self.paths().config(), domain)?;
        Ok(Registry { hosts, limits: Limits::default() })
    }
}

/// How images of one repository are fetched.
struct Access {
    registry: Registry,
    platform: Option<Platform>,
    credentials: Credentials,
}

impl Access {
    fn pull(
        &self,
        engine: &Engine,
        reference: &Reference,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Freshness, EngineError> {
        let pull = Pull {
            reference,
            platform: self.platform.as_ref(),
            credentials: self.credentials.clone(),
            now_ns: i64::try_from(now().as_nanosecond()).unwrap_or(i64::MAX),
        };
        let progress = Mutex::new(progress);
        let tell = |event| {
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(told) = view(reference, event) {
                progress(told);
            }
        };
        let pulled = self.registry.pull(engine.store(), &pull, &tell)?;
        let name = [("name", reference.familiar_name())];
        engine.tell_image("pull", reference.familiar(), &name);
        Ok(pulled.freshness)
    }
}

/// What a client needs to tell apart.
impl From<PullError> for EngineError {
    fn from(error: PullError) -> Self {
        use PullError as E;
        let error = Box::new(error);
        match *error {
            _ if error.is_rate_limit() => Self::RegistryRateLimit(error),
            E::Denied { .. }
            | E::NoRepository { .. }
            | E::NotFound { .. }
            | E::NoPlatform { .. }
            | E::WrongPlatform { .. } => Self::NotInRegistry(error),
            E::Unauthorized { .. } => Self::RegistryUnauthorized(error),
            E::SchemaOne(_) => Self::OldImage(error),
            E::Request { .. }
            | E::Blob { .. }
            | E::Document { .. }
            | E::Contradiction { .. }
            | E::Tags { .. }
            | E::Download { .. }
            | E::Layer { .. }
            | E::Transport(_)
            | E::Begin(_)
            | E::Publish(_)
            | E::Stored(_)
            | E::StoredLayer(_)
            | E::Resolve(_)
            | E::Db(_) => Self::Registry(error),
        }
    }
}

/// The strongest of what was given, as Docker chooses.
pub(crate) fn credentials(auth: RegistryAuth) -> Credentials {
    match auth {
        RegistryAuth { registry_token: Some(token), .. } => {
            Credentials::RegistryToken(Secret::new(token))
        }
        RegistryAuth { identity_token: Some(token), .. } => {
            Credentials::IdentityToken(Secret::new(token))
        }
        RegistryAuth { basic: Some((user, password)), .. } => {
            Credentials::Basic { user, password: Secret::new(password) }
        }
        RegistryAuth { .. } => Credentials::Anonymous,
    }
}

/// `None` for the end of one tag: the end of the whole is told once.
fn view(reference: &Reference, event: Event) -> Option<Progress> {
    Some(match event {
        Event::Found => Progress::Pulling {
            repository: reference.path().to_owned(),
            tag: match (reference.digest(), reference.tag()) {
                (Some(digest), _) => reference.at_digest(*digest).to_string(),
                (None, tag) => tag.unwrap_or_default().to_owned(),
            },
        },
        Event::Layer(digest, step) => Progress::Layer { layer: digest.short(), step },
        Event::Resolved(digest) => Progress::Digest(digest),
        Event::Ended(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_counts_more_than_a_password() {
        let basic = Some(("me".to_owned(), "pw".to_owned()));
        let mut auth = RegistryAuth { basic, ..RegistryAuth::default() };
        assert!(matches!(credentials(auth.clone()), Credentials::Basic { .. }));
        auth.identity_token = Some("i".to_owned());
        assert!(matches!(credentials(auth.clone()), Credentials::IdentityToken(_)));
        auth.registry_token = Some("r".to_owned());
        assert!(matches!(credentials(auth), Credentials::RegistryToken(_)));
        assert_eq!(credentials(RegistryAuth::default()), Credentials::Anonymous);
    }

    #[test]
    fn a_pull_is_told_as_docker_tells_it() {
        let tell = |text: &str| view(&text.parse::<Reference>().unwrap(), Event::Found);
        let pulling = |repository: &str, tag: &str| {
            Some(Progress::Pulling { repository: repository.to_owned(), tag: tag.to_owned() })
        };
        assert_eq!(tell("debian:12"), pulling("library/debian", "12"));
        assert_eq!(tell("localhost:5000/a/b:1"), pulling("a/b", "1"));
        let digest = format!("sha256:{}", "ab".repeat(32));
        let whole = format!("docker.io/a/b@{digest}");
        assert_eq!(tell(&format!("a/b:1@{digest}")), pulling("a/b", &whole));
    }

    #[test]
    fn failures_that_clients_tell_apart_are_told_apart() {
        let name = || "x".to_owned();
        let denied = PullError::Denied { name: name(), reason: String::new() };
        assert!(matches!(EngineError::from(denied), EngineError::NotInRegistry(_)));
        let platform = PullError::NoPlatform { wanted: name(), available: name() };
        assert!(matches!(EngineError::from(platform), EngineError::NotInRegistry(_)));
        let schema = PullError::SchemaOne(name());
        assert!(matches!(EngineError::from(schema), EngineError::OldImage(_)));
        let (reference, registry, reason) = (name(), name(), name());
        let wrong = PullError::Unauthorized { reference, registry, reason };
        assert!(matches!(EngineError::from(wrong), EngineError::RegistryUnauthorized(_)));
    }
}

//! `pull`: an image from a registry, with what it tells on the way.
//!
//! The protocol is `registry`'s; here a view's words become its words and back.

use std::sync::{Mutex, PoisonError};

use model::{Platform, Reference};
use registry::{Credentials, Event, Hosts, Limits, Pull, Registry, Secret};

use crate::container::now;
use crate::view::{Freshness, LayerStep, Progress, RegistryAuth};
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
        let registry = Registry { hosts: Hosts::default(), limits: Limits::default() };
        let pull = Pull {
            reference: &reference,
            platform: platform.as_ref(),
            credentials: credentials(auth),
            now_ns: i64::try_from(now().as_nanosecond()).unwrap_or(i64::MAX),
        };
        let progress = Mutex::new(progress);
        let tell = |event| {
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            progress(view(&reference, event));
        };
        match registry.pull(self.store(), &pull, &tell) {
            Ok(_) => Ok(()),
            Err(error) => Err(EngineError::Registry(Box::new(error))),
        }
    }
}

/// The strongest of what was given, as Docker chooses.
fn credentials(auth: RegistryAuth) -> Credentials {
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

fn view(reference: &Reference, event: Event) -> Progress {
    match event {
        Event::Found => Progress::Pulling {
            repository: reference.path().to_owned(),
            tag: match (reference.digest(), reference.tag()) {
                (Some(digest), _) => digest.to_string(),
                (None, tag) => tag.unwrap_or_default().to_owned(),
            },
        },
        Event::Layer(digest, step) => Progress::Layer { layer: digest.short(), step: layer(step) },
        Event::Resolved(digest) => Progress::Digest(digest),
        Event::Ended(freshness) => Progress::Pulled {
            reference: reference.familiar(),
            fresh: match freshness {
                registry::Freshness::Downloaded => Freshness::Downloaded,
                registry::Freshness::UpToDate => Freshness::UpToDate,
            },
        },
    }
}

fn layer(step: registry::LayerStep) -> LayerStep {
    use registry::LayerStep as Step;
    match step {
        Step::Exists => LayerStep::Exists,
        Step::Pulling => LayerStep::Pulling,
        Step::Waiting => LayerStep::Waiting,
        Step::Downloading { current, total } => LayerStep::Downloading { current, total },
        Step::Verifying => LayerStep::Verifying,
        Step::Downloaded => LayerStep::Downloaded,
        Step::Extracting { current, total } => LayerStep::Extracting { current, total },
        Step::Done => LayerStep::Done,
    }
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
        let tell = |text: &str, event| view(&text.parse::<Reference>().unwrap(), event);
        let pulling = |repository: &str, tag: &str| Progress::Pulling {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
        };
        assert_eq!(tell("debian:12", Event::Found), pulling("library/debian", "12"));
        assert_eq!(tell("localhost:5000/a/b:1", Event::Found), pulling("a/b", "1"));
        let digest = format!("sha256:{}", "ab".repeat(32));
        assert_eq!(tell(&format!("a/b:1@{digest}"), Event::Found), pulling("a/b", &digest));
        let ended = tell("debian:12", Event::Ended(registry::Freshness::UpToDate));
        let fresh = Freshness::UpToDate;
        assert_eq!(ended, Progress::Pulled { reference: "debian:12".to_owned(), fresh });
    }
}

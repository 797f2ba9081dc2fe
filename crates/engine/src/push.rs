//! `push`: an image into a registry; and what else is asked of one: who is let in, what it has.

use model::Reference;
use model::push::PushStep;
use model::reference::{is_domain, search_term};
use registry::{
    Description, Found, HUB_INDEX, Login, LoginError, Push, PushError, Search, SearchError, Subject,
};

use crate::container::now;
use crate::pull::credentials;
use crate::view::{Progress, RegistryAuth};
use crate::{Engine, EngineError};

impl Engine {
    /// Pushes the image of one tag; without a tag, those of all tags that a repository has here.
    ///
    /// # Errors
    /// There is none, or the registry does not take it. The tags before it are there.
    pub fn image_push(
        &self,
        reference: &Reference,
        auth: &RegistryAuth,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), EngineError> {
        progress(Progress::Pushing { repository: reference.name() });
        for tag in self.to_push(reference)? {
            self.push_one(&tag, auth, progress)?;
        }
        Ok(())
    }

    /// The tags that are meant, in Docker's words where there is none.
    fn to_push(&self, reference: &Reference) -> Result<Vec<Reference>, EngineError> {
        let images = self.store().images().list()?;
        let tags = images.iter().flat_map(|image| &image.tags);
        let mut tags: Vec<Reference> =
            tags.filter(|tag| tag.name() == reference.name()).cloned().collect();
        tags.sort();
        let familiar = reference.familiar_name();
        if tags.is_empty() {
            let told = format!("An image does not exist locally with the tag: {familiar}");
            return Err(RegistryFailure::NotToPush(told).into());
        }
        let Some(tag) = reference.tag() else { return Ok(tags) };
        tags.retain(|one| one.tag() == Some(tag));
        if tags.is_empty() {
            let told = format!("tag does not exist: {familiar}:{tag}");
            return Err(RegistryFailure::NotToPush(told).into());
        }
        Ok(tags)
    }

    fn push_one(
        &self,
        reference: &Reference,
        auth: &RegistryAuth,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), EngineError> {
        let image = self.image(&reference.to_string())?.id;
        let push = Push {
            reference,
            image,
            credentials: credentials(auth.clone()),
            now_ns: i64::try_from(now().as_nanosecond()).unwrap_or(i64::MAX),
        };
        let mut tell = |layer: model::Digest, step: PushStep| {
            progress(Progress::PushedLayer { layer: layer.short(), step });
        };
        let registry = self.registry(reference.domain())?;
        let pushed = registry.push(self.store(), &push, &mut tell)?;
        let tag = reference.tag().unwrap_or_default().to_owned();
        progress(Progress::Pushed { tag, digest: pushed.digest, size: pushed.size });
        let name = [("name", reference.familiar_name())];
        self.tell_image("push", reference.familiar(), &name);
        Ok(())
    }

    /// Asks a registry, named by the domain of a reference, whether it lets somebody in.
    ///
    /// # Errors
    /// It does not, or cannot be asked.
    pub fn registry_login(&self, domain: &str, auth: RegistryAuth) -> Result<(), EngineError> {
        let login = Login { domain, credentials: credentials(auth) };
        Ok(self.registry(checked(domain)?)?.login(login)?)
    }

    /// Looks for words in Docker Hub, or in the registry that they begin with.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn registry_search(
        &self,
        term: &str,
        limit: usize,
        auth: RegistryAuth,
    ) -> Result<Vec<Found>, EngineError> {
        let domain = search_term(term).0.unwrap_or(HUB_INDEX);
        let registry = self.registry(checked(domain)?)?;
        Ok(registry.search(&Search { term, limit, credentials: credentials(auth) })?)
    }

    /// What a registry has under a name.
    ///
    /// # Errors
    /// It has nothing, or does not show it to whoever asks.
    pub fn registry_describe(
        &self,
        reference: &Reference,
        auth: RegistryAuth,
    ) -> Result<Description, EngineError> {
        let of = Subject { reference, credentials: credentials(auth) };
        Ok(self.registry(reference.domain())?.describe(self.store(), &of)?)
    }
}

/// What names a registry names files of its settings too.
fn checked(domain: &str) -> Result<&str, EngineError> {
    if is_domain(domain) {
        return Ok(domain);
    }
    let domain = model::shown::shown(domain);
    Err(EngineError::Invalid(format!(
        "{domain:?} is no registry: it has to be a host's name or address"
    )))
}

/// Why a registry does not do what is asked beside pulls.
#[derive(Debug, thiserror::Error)]
pub enum RegistryFailure {
    /// There is nothing to be pushed under a name.
    #[error("{0}")]
    NotToPush(String),
    /// It does not take an image.
    #[error(transparent)]
    Push(Box<PushError>),
    /// It does not let somebody in.
    #[error(transparent)]
    LoginRefused(Box<LoginError>),
    /// It cannot be asked whether it lets somebody in.
    #[error(transparent)]
    Login(Box<LoginError>),
    /// It cannot be searched.
    #[error(transparent)]
    Search(SearchError),
}

impl From<PushError> for EngineError {
    fn from(error: PushError) -> Self {
        RegistryFailure::Push(Box::new(error)).into()
    }
}

impl From<SearchError> for EngineError {
    fn from(error: SearchError) -> Self {
        // No registry was asked: there was nothing to ask.
        if let SearchError::NoTerm(_) = error {
            return EngineError::Invalid(error.to_string());
        }
        RegistryFailure::Search(error).into()
    }
}

impl From<LoginError> for EngineError {
    fn from(error: LoginError) -> Self {
        match error {
            error @ LoginError::Refused { .. } => RegistryFailure::LoginRefused(Box::new(error)),
            error @ (LoginError::Request { .. } | LoginError::Transport(_)) => {
                RegistryFailure::Login(Box::new(error))
            }
        }
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_without_words_is_the_callers_mistake() {
        let error = EngineError::from(SearchError::NoTerm("localhost:5000/".to_owned()));
        let EngineError::Invalid(said) = error else { panic!("{error:?}") };
        assert_eq!(said, "\"localhost:5000/\" has no words to search for");
    }
}

//! Who asks. Secrets have no `Display`, and their `Debug` says nothing.

use std::fmt;

/// A text that must not reach a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What a registry, or the token service that it names, gets to see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Nothing.
    #[default]
    Anonymous,
    /// Name and password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// An `OAuth2` refresh token, for the token service alone.
    IdentityToken(Secret),
    /// A bearer token, used as it is.
    RegistryToken(Secret),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let basic = Credentials::Basic { user: "me".into(), password: Secret::new("hunter2") };
        assert_eq!(format!("{basic:?}"), "Basic { user: \"me\", password: Secret }");
        let token = Credentials::IdentityToken(Secret::new("hunter2"));
        assert_eq!(format!("{token:?}"), "IdentityToken(Secret)");
    }
}

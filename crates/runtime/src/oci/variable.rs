//! A variable of the environment on the command line, which logs name without its value.

/// NAME=VALUE. What is told of it is its name alone: values are secrets.
#[derive(Clone)]
pub(super) struct Variable(pub(super) String);

impl std::str::FromStr for Variable {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.split('=').next().unwrap_or_default().fmt(f)
    }
}

//! Plans of whole specifications.

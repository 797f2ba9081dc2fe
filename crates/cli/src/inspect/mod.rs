//! Shows objects as the server described them: as JSON, or through a template.

mod typed;

pub use typed::typed;

//! What a push tells while it runs.

/// How far one layer has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushStep {
    /// It will be looked for.
    Preparing,
    /// It waits for its turn.
    Waiting,
    /// The repository has it already.
    Exists,
    /// The registry takes it from another of its repositories, by its path.
    Mounted(String),
    /// Bytes have gone.
    Pushing {
        /// So far.
        current: u64,
        /// In all.
        total: u64,
    },
    /// The repository has all of it.
    Pushed,
}

//! What a pull tells while it runs.

/// How far one layer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerStep {
    /// It was here already.
    Exists,
    /// It will be fetched.
    Pulling,
    /// It waits for its turn, or for another operation that fetches it.
    Waiting,
    /// Bytes have come; they are unpacked as they come.
    Downloading {
        /// So far.
        current: u64,
        /// In all.
        total: u64,
    },
    /// All bytes are here; their digest is being checked.
    Verifying,
    /// The download has ended.
    Downloaded,
    /// The last of it is being unpacked.
    Extracting {
        /// So far.
        current: u64,
        /// In all.
        total: u64,
    },
    /// It can be used.
    Done,
}

/// Whether a pull changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Something was fetched, or the name meant another image before.
    Downloaded,
    /// It was all here already.
    UpToDate,
}

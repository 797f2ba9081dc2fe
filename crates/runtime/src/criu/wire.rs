//! criu's messages, as far as we use them: `rpc.proto` of criu 3.13 and later.
//!
//! Protobuf passes over what a side does not know, so the numbers are the contract.

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Kind {
    Empty = 0,
    Dump = 1,
    Restore = 2,
    Notify = 6,
}

/// To criu.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    #[prost(enumeration = "Kind", required, tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) options: Option<Options>,
    /// The answer to a [`Notify`].
    #[prost(bool, optional, tag = "3")]
    pub(super) notify_success: Option<bool>,
}

/// What it is to do, and how.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Options {
    /// A descriptor of the client's.
    #[prost(int32, required, tag = "1")]
    pub(super) images: i32,
    #[prost(int32, optional, tag = "2")]
    pub(super) pid: Option<i32>,
    #[prost(bool, optional, tag = "3")]
    pub(super) leave_running: Option<bool>,
    #[prost(bool, optional, tag = "8")]
    pub(super) file_locks: Option<bool>,
    #[prost(int32, optional, tag = "9")]
    pub(super) log_level: Option<i32>,
    #[prost(string, optional, tag = "10")]
    pub(super) log_file: Option<String>,
    #[prost(bool, optional, tag = "12")]
    pub(super) notify: Option<bool>,
    #[prost(string, optional, tag = "13")]
    pub(super) root: Option<String>,
    /// A descriptor of the client's.
    #[prost(int32, optional, tag = "17")]
    pub(super) work: Option<i32>,
    /// The restored process is a child of criu's parent.
    #[prost(bool, optional, tag = "26")]
    pub(super) as_sibling: Option<bool>,
    #[prost(message, repeated, tag = "27")]
    pub(super) inherit: Vec<Inherit>,
    /// 0: control groups are none of its business.
    #[prost(int32, optional, tag = "34")]
    pub(super) cgroup_mode: Option<i32>,
    /// The largest file without a name that goes into a checkpoint, in bytes.
    #[prost(uint32, optional, tag = "35")]
    pub(super) ghost_limit: Option<u32>,
    #[prost(string, repeated, tag = "37")]
    pub(super) external: Vec<String>,
    #[prost(bool, optional, tag = "50")]
    pub(super) orphan_terminal: Option<bool>,
    #[prost(string, optional, tag = "51")]
    pub(super) configuration: Option<String>,
    #[prost(bool, optional, tag = "52")]
    pub(super) close_tcp: Option<bool>,
}

/// A descriptor of criu's own that takes the place of one in the checkpoint.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub(super) struct Inherit {
    #[prost(string, required, tag = "1")]
    pub(super) key: String,
    #[prost(int32, required, tag = "2")]
    pub(super) fd: i32,
}

/// From criu.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub(super) struct Response {
    #[prost(enumeration = "Kind", required, tag = "1")]
    pub(super) kind: i32,
    #[prost(bool, required, tag = "2")]
    pub(super) success: bool,
    #[prost(message, optional, tag = "4")]
    pub(super) restored: Option<Restored>,
    #[prost(message, optional, tag = "5")]
    pub(super) notify: Option<Notify>,
    #[prost(int32, optional, tag = "7")]
    pub(super) errno: Option<i32>,
    #[prost(string, optional, tag = "9")]
    pub(super) message: Option<String>,
}

/// What was made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub(super) struct Restored {
    #[prost(int32, required, tag = "1")]
    pub(super) pid: i32,
}

/// criu has come so far, and waits for a word.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub(super) struct Notify {
    #[prost(string, optional, tag = "1")]
    pub(super) script: Option<String>,
    #[prost(int32, optional, tag = "2")]
    pub(super) pid: Option<i32>,
}

//! The OCI distribution protocol: a client for any registry.
//!
//! Owns the way from a reference to an image in the store and back: hosts, connections, authorisation,
//! manifests, layers in parallel, resumption. Everything blocks; the asynchronous machinery of the
//! HTTP library stays inside `transport`. What documents must look like and how layers are unpacked
//! is the store's business. Whatever else is fetched by HTTP comes through here as well (`download`).

#![forbid(unsafe_code)]

mod answer;
mod auth;
mod blob;
mod configuration;
mod credentials;
mod describe;
mod documents;
mod download;
mod event;
mod hosts;
mod layers;
mod limits;
mod login;
mod pull;
mod push;
mod search;
mod session;
mod tags;
mod transport;
mod upload;
mod url;

pub use answer::{Code, Reason};
pub use auth::AuthError;
pub use blob::{BlobFailure, Interruption};
pub use configuration::{ConfigDirs, ConfigError, load};
pub use credentials::{Credentials, Secret};
pub use describe::{Description, Subject};
pub use download::{Download, DownloadError, download};
pub use event::{Event, Freshness, LayerStep};
pub use hosts::{Host, Hosts, Identity, Server, Trust};
pub use limits::Limits;
pub use login::{Login, LoginError};
pub use pull::{Pull, PullError, Pulled, Registry};
pub use push::{Push, PushError, Pushed, TellPush};
pub use search::{Found, HUB_INDEX, Search, SearchError};
pub use session::RequestError;
pub use tags::{Repository, TagsError};
pub use transport::{TransportError, Unverified, addresses};
pub use upload::UploadError;
pub use url::{BadUrl, Origin, Scheme};

//! Ways to reach a server: a socket, or a pipe to the router in this process.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Makes one more connection to a server in this process.
pub type Factory = dyn Fn() -> io::Result<Box<dyn Io>> + Send + Sync;

/// Where the server is.
#[derive(Clone)]
pub enum Transport {
    /// A Unix socket.
    Unix(PathBuf),
    /// In this process: each call of the function is one connection, served at its other end.
    Memory(Arc<Factory>),
}

impl Transport {
    /// A transport whose connections a function makes.
    pub fn memory<F>(connect: F) -> Self
    where
        F: Fn() -> io::Result<Box<dyn Io>> + Send + Sync + 'static,
    {
        Self::Memory(Arc::new(connect))
    }

    pub(crate) async fn connect(&self) -> io::Result<Box<dyn Io>> {
        match self {
            Self::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
            Self::Memory(connect) => connect(),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Memory(_) => f.write_str("the engine in this process"),
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transport({self})")
    }
}

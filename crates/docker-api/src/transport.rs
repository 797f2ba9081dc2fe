//! Ways to reach a server: a socket, a pipe to the router in this process, or what somebody else knows how to
//! connect to.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Makes one more connection to a server in this process.
pub type Factory = dyn Fn() -> io::Result<Box<dyn Io>> + Send + Sync;

/// A connection that is being made.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// Begins one more connection to a server elsewhere.
pub type Dial = dyn Fn() -> Connecting + Send + Sync;

/// Where the server is.
#[derive(Clone)]
pub enum Transport {
    /// A Unix socket.
    Unix(PathBuf),
    /// In this process: each call of the function is one connection, served at its other end.
    Memory(Arc<Factory>),
    /// Elsewhere: what it is called, and what each connection is begun by.
    Remote(String, Arc<Dial>),
}

impl Transport {
    /// A transport whose connections a function makes.
    pub fn memory<F>(connect: F) -> Self
    where
        F: Fn() -> io::Result<Box<dyn Io>> + Send + Sync + 'static,
    {
        Self::Memory(Arc::new(connect))
    }

    /// A transport to the server of this name, whose connections a function begins.
    pub fn remote<F>(name: String, dial: F) -> Self
    where
        F: Fn() -> Connecting + Send + Sync + 'static,
    {
        Self::Remote(name, Arc::new(dial))
    }

    /// Makes one more connection.
    ///
    /// # Errors
    /// Nobody listens there, or the system says no.
    pub async fn connect(&self) -> io::Result<Box<dyn Io>> {
        match self {
            Self::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
            Self::Memory(connect) => connect(),
            Self::Remote(_, dial) => dial().await,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Memory(_) => f.write_str("the engine in this process"),
            Self::Remote(name, _) => f.write_str(name),
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transport({self})")
    }
}

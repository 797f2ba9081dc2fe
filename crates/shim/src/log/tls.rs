//! TLS with whoever takes a log: a session beside a socket, moved on when the socket is ready.
//!
//! Nothing here waits, and nothing of it is in the memory of a container whose log goes elsewhere.
//! When a connection is made is `peer`'s business.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use model::log::TlsTrust;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::protocol::SinkTls;

/// How often what a peer says is read before it is sent more.
const READS: usize = 16;
/// Bytes that are encrypted at once: a record of TLS.
const RECORD: usize = 16 << 10;

/// Who is expected at the other end, and who we are to them.
#[derive(Debug)]
pub(super) struct Party {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Party {
    /// Reads the certificates.
    pub(super) fn read(tls: &SinkTls) -> io::Result<Self> {
        let name = ServerName::try_from(tls.name.clone()).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = match tls.trust {
            TlsTrust::Verified => builder.with_root_certificates(roots(tls.authority.as_deref())?),
            TlsTrust::Anyone => {
                let verifier = Arc::new(Unverified(provider));
                builder.dangerous().with_custom_certificate_verifier(verifier)
            }
        };
        let mut config = match &tls.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let own = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
                let own = builder.with_client_auth_cert(certificates(chain)?, own);
                own.map_err(|error| unreadable(key, &error))?
            }
        };
        // There is one connection at a time, and hours between two of them.
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), name })
    }

    /// A session that has yet to be agreed on.
    pub(super) fn greet(&self) -> io::Result<Session> {
        let made = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        Ok(Session(Box::new(made.map_err(io::Error::other)?)))
    }
}

fn unreadable(path: &Path, error: &dyn std::error::Error) -> io::Error {
    io::Error::other(format!("read {}: {error}", path.display()))
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let read: Vec<_> = read.map_err(|error: pem::Error| unreadable(path, &error))?;
    if read.is_empty() {
        return Err(unreadable(path, &pem::Error::NoItemsFound));
    }
    Ok(read)
}

/// Those of the host, and the one that is named besides, as in Docker.
fn roots(authority: Option<&Path>) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // One certificate that cannot be read does not spoil the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let Some(path) = authority else { return Ok(roots) };
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unreadable(path, &error))?;
    }
    Ok(roots)
}

/// One connection's keys and what is on its way.
#[derive(Debug)]
pub(super) struct Session(Box<ClientConnection>);

impl Session {
    /// Whether it has yet to be agreed on.
    pub(super) fn is_greeting(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Whether something waits for room in the socket.
    pub(super) fn has_unsent(&self) -> bool {
        self.0.wants_write()
    }

    /// Hears what the other side says, and sends what waits.
    pub(super) fn go_on(&mut self, socket: &OwnedFd) -> io::Result<()> {
        let heard = self.listen(socket);
        // What was wrong is told to the other side as well.
        let flushed = self.flush(socket);
        heard.and(flushed)
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn flush(&mut self, socket: &OwnedFd) -> io::Result<()> {
        while self.0.wants_write() {
            match self.0.write_tls(&mut Wire(socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes as much as can be encrypted and sent now; the last of it may wait here for room.
    pub(super) fn send(&mut self, socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        self.go_on(socket)?;
        if self.0.wants_write() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = self.0.writer().write(&bytes[..bytes.len().min(RECORD)])?;
        self.flush(socket)?;
        Ok(count)
    }

    /// Says that nothing more comes, if there is room for that.
    pub(super) fn close(&mut self, socket: &OwnedFd) {
        self.0.send_close_notify();
        let _ = self.flush(socket);
    }

    /// Whatever is said in words of the application is forgotten; of one who says very much, only so
    /// much is heard at a time.
    fn listen(&mut self, socket: &OwnedFd) -> io::Result<()> {
        for _ in 0..READS {
            match self.0.read_tls(&mut Wire(socket)) {
                Ok(0) => return Err(ErrorKind::BrokenPipe.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            let state = self.0.process_new_packets();
            let state = state.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            if state.peer_has_closed() {
                return Err(ErrorKind::BrokenPipe.into());
            }
            // It ends with the error that there is no more.
            let _ = io::copy(&mut self.0.reader(), &mut io::sink());
        }
        Ok(())
    }
}

/// A socket that is never waited for.
struct Wire<'s>(&'s OwnedFd);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let heard = rustix::io::retry_on_intr(|| recv(self.0, &mut *buffer, RecvFlags::DONTWAIT))?;
        Ok(heard.0)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        Ok(rustix::io::retry_on_intr(|| send(self.0, bytes, flags))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes any certificate (`syslog-tls-skip-verify`). Signatures are checked all the same.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;

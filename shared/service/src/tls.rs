//! TLS: the one provider of cryptography, and what a failed handshake means in words.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, RootCertStore};

use crate::config::Identity;

/// A server that is asked for its certificate answers within this.
const PROBE_WITHIN: Duration = Duration::from_secs(2);

/// A server that does not accept our certificate says so within this.
const JUDGED_WITHIN: Duration = Duration::from_millis(500);

/// Chooses the provider of cryptography. Call first in every program, and in tests that speak HTTP; a repeat
/// changes nothing.
pub fn install() {
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// What is wrong between us and a server whose variables begin with `server`; none when it is not TLS.
///
/// Reads on after the name of the server: "its certificate has expired", "does not speak TLS".
pub fn explain(server: &str, error: &(dyn Error + 'static)) -> Option<String> {
    find(error).map(|error| words(server, error))
}

/// The TLS error among the causes of an error.
fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        // The client of Redis shares its causes; such an error is not of the type of what it holds.
        if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            next = Some(&**shared);
            continue;
        }
        // An I/O error leaves out the error that it wraps when it is asked for its source.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

fn words(server: &str, error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer => {
                format!("its certificate is signed by a CA that we do not trust: see {server}_CA")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired: renew it on the server".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet: compare the clocks".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another host name than the one we connect to".to_owned()
            }
            other => format!("its certificate is refused: {other}"),
        },
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure),
        ) => {
            format!(
                "does not accept our client certificate ({alert:?}): see {server}_CERTIFICATE and {server}_KEY"
            )
        }
        rustls::Error::InvalidMessage(_) => "does not speak TLS on this port".to_owned(),
        other => format!("TLS fails: {other}"),
    }
}

/// What is wrong between us and `host:port`, for clients whose own errors do not say; blocks.
///
/// None when nothing is wrong or nothing can be found out.
pub fn probe(server: &str, address: &str, ca: &Path, identity: Option<&Identity>) -> Option<String> {
    let trusted = File::open(ca).map(|file| {
        let mut trusted = RootCertStore::empty();
        let certificates = CertificateDer::pem_reader_iter(BufReader::new(file));
        trusted.add_parsable_certificates(certificates.filter_map(Result::ok));
        trusted
    });
    match trusted.and_then(|trusted| handshake(address, trusted, identity)) {
        Ok(()) => None,
        Err(e) => explain(server, &e),
    }
}

/// Whether `host:port` answers with a certificate, whoever signed it; blocks.
pub fn is_spoken_by(address: &str) -> bool {
    let outcome = handshake(address, RootCertStore::empty(), None);
    outcome.is_err_and(|e| matches!(find(&e), Some(rustls::Error::InvalidCertificate(_))))
}

/// Connects, checks the certificate, waits a moment for the server to say what it thinks of ours, and hangs up.
fn handshake(address: &str, trusted: RootCertStore, identity: Option<&Identity>) -> io::Result<()> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(trusted);
    let config = match identity {
        Some(Identity { certificate, key }) => {
            let chain = CertificateDer::pem_file_iter(certificate).map_err(io::Error::other)?;
            let chain = chain.collect::<Result<_, _>>().map_err(io::Error::other)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
            config.with_client_auth_cert(chain, key).map_err(io::Error::other)?
        }
        None => config.with_no_client_auth(),
    };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let target = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&target, PROBE_WITHIN)?;
    stream.set_read_timeout(Some(PROBE_WITHIN))?;
    stream.set_write_timeout(Some(PROBE_WITHIN))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    // With TLS 1.3 a certificate is judged when we have done all of our part.
    stream.set_read_timeout(Some(JUDGED_WITHIN))?;
    match connection.complete_io(&mut stream) {
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(()),
        outcome => outcome.map(drop),
    }
}

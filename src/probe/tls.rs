//! TLS of a probe: whom it trusts, and in words that stay the same what is wrong with a certificate. A report counts failures
//! by their words, and those of the library name instants.

use super::transport::said;
use crate::error::{Context, Error, Kind, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{CertificateError, RootCertStore};
use std::io;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// Whom a probe trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust<'a> {
    /// The roots of this machine.
    System,
    /// These roots, as PEM, and no others.
    Only(&'a str),
    /// These roots and those of this machine.
    Also(&'a str),
}

const PEM: &str = "a PEM file has a line -----BEGIN CERTIFICATE----- before each certificate: openssl x509 -in FILE -noout -text reads it";

/// Roots that are written as PEM.
///
/// # Errors
/// `Kind::Input` where none is in it, or one of them is no certificate.
pub fn roots(pem: &str) -> Result<RootCertStore> {
    let doing = || "reading the certificates of a CA".to_owned();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| Error::input(format!("{}: {error}", doing())).hint(PEM))?;
        roots.add(certificate).context(Kind::Input, doing).map_err(|error| error.hint(PEM))?;
    }
    if roots.is_empty() {
        return Err(Error::input(format!("{}: there is none", doing())).hint(PEM));
    }
    Ok(roots)
}

/// What opens TLS connections that trust these.
pub(super) fn connector(trust: Trust<'_>) -> Result<TlsConnector> {
    let mut trusted = match trust {
        Trust::System => RootCertStore::empty(),
        Trust::Only(pem) | Trust::Also(pem) => roots(pem)?,
    };
    if !matches!(trust, Trust::Only(_)) {
        for certificate in rustls_native_certs::load_native_certs().certs {
            // A root that rustls cannot read is one root less; the handshake tells if it was needed.
            drop(trusted.add(certificate));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context(Kind::Failed, || "setting up TLS for a probe".to_owned())?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The name that a certificate must be for.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
}

/// Why a handshake failed.
pub(super) fn refused(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(why)) => format!("TLS: its certificate {}", wrong(why)),
        _ => format!("TLS: {}", said(error)),
    }
}

fn wrong(why: &CertificateError) -> String {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name".to_owned()
        }
        CertificateError::UnknownIssuer => "is not issued by a root that is trusted".to_owned(),
        other => format!("is no good: {other}"),
    }
}

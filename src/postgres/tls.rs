//! TLS as libpq means it: `require` encrypts, `verify-ca` trusts a root, `verify-full` also checks the name.

use super::conninfo::{Roots, SslMode, Tls};
use crate::error::{Error, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Makes what the driver needs to speak TLS as asked.
pub(super) fn connector(tls: &Tls) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] = match (tls.only_1_3, tls.only_1_2) {
        (true, _) => &[&rustls::version::TLS13],
        (_, true) => &[&rustls::version::TLS12],
        _ => rustls::DEFAULT_VERSIONS,
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| Error::failed("preparing TLS").because(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(tls, provider)?);
    let mut config = match &tls.client {
        Some((certificate, key)) if tls.mode != SslMode::Disable => builder
            .with_client_auth_cert(certificates(certificate, "the client certificate")?, private_key(key)?)
            .map_err(|error| {
                Error::input(format!("reading the client certificate {}", certificate.display())).because(error)
            })?,
        _ => builder.with_no_client_auth(),
    };
    // PostgreSQL 17 demands it for direct TLS; older servers do not look.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

fn verifier(tls: &Tls, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    if tls.mode == SslMode::Disable {
        return Ok(Arc::new(Verifier { provider, chain: None, full: false, roots: Vec::new() }));
    }
    let roots = match &tls.roots {
        // As libpq: without roots, everything below verify-ca takes any certificate.
        Roots::None => return Ok(Arc::new(Verifier { provider, chain: None, full: false, roots: Vec::new() })),
        Roots::System(_) => rustls_native_certs::load_native_certs().certs,
        Roots::File(file) => certificates(file, "the root certificates")?,
    };
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(roots.iter().cloned());
    if added == 0 {
        return Err(Error::input("preparing TLS: no usable root certificate was found")
            .hint("sslrootcert names a PEM file; on a minimal image install ca-certificates or set SSL_CERT_FILE"));
    }
    let mut chain = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone());
    if let Some(file) = &tls.revoked {
        let lists: Vec<_> = CertificateRevocationListDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .map_err(|error| unreadable(file, "the revocation list", error))?;
        chain = chain.with_crls(lists);
    }
    let chain = chain.build().map_err(|error| {
        Error::input("preparing TLS: reading the revocation list").because(error).hint(
            "sslcrl names a PEM file with lists of version 2 (with a number), one for each authority in the chain",
        )
    })?;
    Ok(Arc::new(Verifier { provider, chain: Some(chain), full: tls.mode == SslMode::VerifyFull, roots }))
}

fn certificates(file: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(file, what, error))?;
    if all.is_empty() {
        return Err(Error::input(format!("reading {what} {}: there is no certificate in it", file.display())));
    }
    Ok(all)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let metadata = std::fs::metadata(file)
        .map_err(|error| Error::input(format!("reading the client key {}", file.display())).because(error))?;
    // As libpq: a key of root may be readable by its group, any other one by its owner only.
    let allowed = if metadata.uid() == 0 { 0o640 } else { 0o600 };
    if metadata.permissions().mode() & 0o777 & !allowed & 0o077 != 0 {
        return Err(Error::input(format!("reading the client key {}: others can read it", file.display()))
            .hint(format!("chmod 0600 {}", file.display())));
    }
    PrivateKeyDer::from_pem_file(file).map_err(|error| {
        unreadable(file, "the client key", error).hint("an encrypted key must be decrypted first: openssl pkey -in KEY")
    })
}

fn unreadable(file: &Path, what: &str, error: rustls::pki_types::pem::Error) -> Error {
    Error::input(format!("reading {what} {}", file.display())).because(error)
}

/// Checks the server's certificate as far as the mode asks.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// `None` takes any certificate.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// Whether the name must fit, too.
    full: bool,
    roots: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        let error = match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            Ok(verified) => return Ok(verified),
            Err(error) => error,
        };
        let rustls::Error::InvalidCertificate(reason) = &error else {
            return Err(error);
        };
        match reason {
            // The name is looked at last, so the chain is good.
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } if !self.full => {
                Ok(ServerCertVerified::assertion())
            }
            // The usual self-signed server certificate is a CA by its form; OpenSSL takes it if it is itself among the
            // roots. Its dates were checked before its form was.
            CertificateError::Other(other)
                if other.to_string().contains("CaUsedAsEndEntity")
                    && self.roots.iter().any(|root| root == end_entity) =>
            {
                if self.full {
                    rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            _ => Err(error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

//! TLS: a certificate and its key from files, read again when they change.

use std::fs;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(10);

/// Bytes of a file that are read: a chain of certificates has a few thousand.
const MAX_FILE: u64 = 1 << 20;

/// Where certificate and key are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and behind it those of the authorities between it and the root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why certificate and key are of no use. Never quotes what is in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("cannot read {path}: {why}", path = .0.display(), why = .1)]
    Read(PathBuf, io::ErrorKind),
    /// A pipe or a device: to open it, or to read to its end, may take for ever.
    #[error("{path} is not a regular file", path = .0.display())]
    Irregular(PathBuf),
    /// A file without what should be in it.
    #[error("{path} has no {what} in PEM", path = .0.display(), what = .1)]
    Content(PathBuf, &'static str),
    /// They do not belong together, or are of a kind that is not supported.
    #[error("the private key {key} does not match the certificate {cert}: {why}", key = .0.key.display(), cert = .0.cert.display(), why = .1)]
    Unfit(Files, String),
}

/// The certificate in use.
#[derive(Debug)]
pub struct Certificate {
    files: Files,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads the files.
    pub fn read(files: Files) -> Result<Arc<Self>, TlsError> {
        let current = RwLock::new(Arc::new(load(&files)?));
        Ok(Arc::new(Self { files, current }))
    }

    /// What takes connections.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, rustls::Error> {
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Looks at the files now and then. What is of no use leaves the old certificate in force, and is said once.
    pub async fn follow(self: Arc<Self>) {
        let mut said = None;
        loop {
            tokio::time::sleep(EVERY).await;
            // Not in the task: a file may be on a slow disk.
            let files = self.files.clone();
            let Ok(loaded) = tokio::task::spawn_blocking(move || load(&files)).await else { continue };
            match loaded {
                Ok(new) => {
                    said = None;
                    let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                    if current.cert != new.cert {
                        *current = Arc::new(new);
                        tracing::info!(cert = %self.files.cert.display(), "certificate reloaded");
                    }
                }
                Err(error) if said.as_ref() != Some(&error) => {
                    tracing::warn!(%error, "new certificate not usable, keeping the old one");
                    said = Some(error);
                }
                Err(_) => {}
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn load(files: &Files) -> Result<CertifiedKey, TlsError> {
    let read = |path: &PathBuf| {
        let failed = |error: io::Error| TlsError::Read(path.clone(), error.kind());
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(TlsError::Irregular(path.clone()));
        }
        let mut bytes = Vec::new();
        fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)).map_err(failed)?;
        Ok(bytes)
    };
    let (cert, key) = (read(&files.cert)?, read(&files.key)?);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&cert).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| TlsError::Content(files.cert.clone(), "certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(&key);
    let key = key.map_err(|_| TlsError::Content(files.key.clone(), "private key"))?;
    CertifiedKey::from_der(chain, key, &default_provider())
        .map_err(|error| TlsError::Unfit(files.clone(), error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(files: &Files, name: &str) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        std::fs::write(&files.cert, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }

    fn current(certificate: &Certificate) -> CertificateDer<'static> {
        certificate.current.read().unwrap().cert[0].clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_rotated_certificate_is_taken_up_and_a_bad_one_leaves_the_old_one_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files { cert: dir.path().join("tls.crt"), key: dir.path().join("tls.key") };
        let first = write(&files, "first");
        let certificate = Certificate::read(files.clone()).unwrap();
        assert_eq!(current(&certificate), first);
        tokio::spawn(Arc::clone(&certificate).follow());
        let turn = async || {
            tokio::time::sleep(EVERY + Duration::from_secs(1)).await;
            // The files are read in a thread, whose time does not stand still.
            for _ in 0..200 {
                tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1))).await.unwrap();
            }
        };
        let second = write(&files, "second");
        turn().await;
        assert_eq!(current(&certificate), second);
        // Half of a rotation: the key is another one's.
        let old_key = std::fs::read(&files.key).unwrap();
        let third = write(&files, "third");
        let new_key = std::fs::read(&files.key).unwrap();
        std::fs::write(&files.key, old_key).unwrap();
        turn().await;
        assert_eq!(current(&certificate), second);
        std::fs::write(&files.key, new_key).unwrap();
        turn().await;
        assert_eq!(current(&certificate), third);
        std::fs::remove_file(&files.cert).unwrap();
        turn().await;
        assert_eq!(current(&certificate), third);
        // A pipe that nobody writes to does not end the reloading.
        let made = std::process::Command::new("mkfifo").arg(&files.cert).status().unwrap();
        assert!(made.success());
        turn().await;
        assert_eq!(current(&certificate), third);
        std::fs::remove_file(&files.cert).unwrap();
        let fourth = write(&files, "fourth");
        turn().await;
        assert_eq!(current(&certificate), fourth);
    }

    #[test]
    fn only_a_regular_file_is_a_certificate_or_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files { cert: dir.path().join("tls.crt"), key: dir.path().join("tls.key") };
        write(&files, "first");
        std::fs::remove_file(&files.key).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&files.key).status().unwrap();
        assert!(made.success());
        let why = load(&files).unwrap_err().to_string();
        assert!(why.ends_with("tls.key is not a regular file"), "{why}");
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said_with_their_names_and_without_their_content() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files { cert: dir.path().join("tls.crt"), key: dir.path().join("tls.key") };
        let why = || Certificate::read(files.clone()).unwrap_err().to_string();
        assert!(why().contains("cannot read") && why().contains("tls.crt"), "{}", why());
        write(&files, "a");
        let key = std::fs::read_to_string(&files.key).unwrap();
        write(&files, "b");
        std::fs::write(&files.key, &key).unwrap();
        assert!(why().contains("does not match"), "{}", why());
        std::fs::write(&files.key, "hunter2").unwrap();
        assert!(why().contains("tls.key has no private key") && !why().contains("hunter2"), "{}", why());
        std::fs::write(&files.cert, &key).unwrap();
        assert!(why().contains("tls.crt has no certificate"), "{}", why());
    }
}

//! The board's certificate on flash: kept as long as its names hold, so that a browser that was
//! told to go on is not asked again at each start; made anew when the board's addresses change.
//!
//! ```text
//! certificate.der   X.509, self-signed by identity.pk8
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::datadir::write_atomically;
use super::tls::{Terminator, TlsError};
use crate::base::endpoint::IpAddr;
use crate::security::certificate::{self, SERIAL_BYTES, Subject};
use crate::security::identity::Identity;

/// Bytes of a certificate with all its names.
const CERTIFICATE_BYTES_MAX: u64 = 64 * 1_024;

/// Makes certificates for one board, and answers TLS clients with the last.
pub struct Issuer {
    identity: Identity,
    path: PathBuf,
    subject: Subject,
    terminator: Terminator,
}

impl Issuer {
    /// The certificate of the board whose key is the PKCS#8 `document`, read from the data
    /// directory or made.
    ///
    /// # Errors
    /// [`TlsError`]. A directory that cannot be written is none: the next start makes another.
    pub fn new(
        (identity, document): (Identity, &[u8]),
        directory: &Path,
        subject: Subject,
    ) -> Result<Self, TlsError> {
        let path = directory.join("certificate.der");
        let kept = read(&path).filter(|it| certificate::fits(it, &identity, &subject));
        let made = kept.unwrap_or_else(|| make(&identity, &subject, &path));
        let terminator = Terminator::new(document, made)?;
        Ok(Issuer {
            identity,
            path,
            subject,
            terminator,
        })
    }

    /// What answers.
    pub fn terminator(&self) -> &Terminator {
        &self.terminator
    }

    /// The board answers at these addresses; nothing happens unless they differ.
    pub fn set_addresses(&mut self, addresses: BTreeSet<IpAddr>) {
        if addresses == self.subject.addresses {
            return;
        }
        self.subject.addresses = addresses;
        let made = make(&self.identity, &self.subject, &self.path);
        self.terminator.set_certificate(made);
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let size = fs::metadata(path).ok()?.len();
    if size > CERTIFICATE_BYTES_MAX {
        return None;
    }
    fs::read(path).ok()
}

fn make(identity: &Identity, subject: &Subject, path: &Path) -> Vec<u8> {
    let mut serial = [0; SERIAL_BYTES];
    // Without entropy the serial repeats, which a browser may complain of, and nothing else.
    if let Err(error) = getrandom::fill(&mut serial) {
        tracing::debug!(%error, "no random serial number");
    }
    let made = certificate::make(identity, subject, serial);
    if let Err(error) = write_atomically(path, &made) {
        tracing::debug!(%error, "the certificate could not be kept");
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(address: &str) -> Subject {
        Subject {
            name: "attic".into(),
            hosts: ["localhost".into()].into(),
            addresses: [address.parse().unwrap()].into(),
        }
    }

    fn issuer(document: &[u8], directory: &Path, address: &str) -> Issuer {
        let identity = Identity::from_pkcs8(document).unwrap();
        Issuer::new((identity, document), directory, subject(address)).unwrap()
    }

    #[test]
    fn certificate_is_kept_until_key_or_addresses_change() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("certificate.der");
        let document = Identity::generate().unwrap();
        let mut first = issuer(&document, temp.path(), "192.0.2.1");
        let kept = fs::read(&path).unwrap();
        first.set_addresses(["192.0.2.1".parse().unwrap()].into());
        issuer(&document, temp.path(), "192.0.2.1");
        assert_eq!(fs::read(&path).unwrap(), kept);
        first.set_addresses(["192.0.2.2".parse().unwrap()].into());
        let moved = fs::read(&path).unwrap();
        assert_ne!(moved, kept);
        issuer(&document, temp.path(), "192.0.2.2");
        assert_eq!(fs::read(&path).unwrap(), moved);
        issuer(&Identity::generate().unwrap(), temp.path(), "192.0.2.2");
        let other = fs::read(&path).unwrap();
        assert_ne!(other, moved);
        fs::write(&path, &other[..50]).unwrap();
        issuer(&document, temp.path(), "192.0.2.2");
        assert!(
            fs::read(&path).unwrap().len() > 50,
            "a damaged one is replaced"
        );
    }
}

//! Certificates of a test's own.
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};

/// A CA and the folder where its files are.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Pair {
    /// As it stands in a `tls` block.
    pub fn keys(&self) -> String {
        format!("certificate: {}, key: {}", self.certificate.display(), self.key.display())
    }
}

/// Not writable by others and not readable: as a key ought to be.
pub fn write_private(file: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Plant");
    name.push(DnType::CommonName, common_name);
    name
}

impl Authority {
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = named(name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { issuer, folder: folder.join(name) };
        std::fs::create_dir(&authority.folder).unwrap();
        std::fs::write(authority.file(), authority.issuer.pem()).unwrap();
        authority
    }

    /// Its own certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// For these DNS names and addresses; the first is its common name as well.
    pub fn issue(&self, names: &[&str]) -> Pair {
        self.issue_valid(names, (2020, 2100))
    }

    /// The same, valid from the first day of one year to that of another.
    pub fn issue_valid(&self, names: &[&str], (from, until): (i32, i32)) -> Pair {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = named(names[0]);
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let place = self.folder.join(fastrand::u64(..).to_string());
        let pair = Pair { certificate: place.with_extension("pem"), key: place.with_extension("key") };
        std::fs::write(&pair.certificate, certificate.pem()).unwrap();
        write_private(&pair.key, &key.serialize_pem());
        pair
    }
}

//! Certificates for servers under test.

use std::path::PathBuf;
use std::process::Command;

/// Certificates made by stock `openssl`.
pub struct Pki {
    directory: tempfile::TempDir,
}

impl Pki {
    /// Two roots, `ca` and `other`; what the first one has signed; and one that signed itself.
    pub fn new() -> Self {
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let pki = Self { directory };
        for ca in ["ca", "other"] {
            pki.openssl(&format!(
                "req -x509 -newkey ec:EC -nodes -keyout {ca}.key -out {ca}.pem -days 30 -subj /CN={ca}"
            ));
        }
        pki.signed("server", "/CN=db.test", "subjectAltName=DNS:db.test", "30");
        pki.signed("app", "/CN=app", "extendedKeyUsage=clientAuth", "30");
        pki.openssl(
            "req -x509 -newkey ec:EC -nodes -keyout self.key -out self.pem -days 30 -subj /CN=db.test \
             -addext subjectAltName=DNS:db.test",
        );
        pki
    }

    /// The file of this name, `ca.pem`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs stock `openssl` where the files are.
    pub fn openssl(&self, arguments: &str) {
        // A parameter file spares spaces inside arguments.
        let curve = self.path("EC");
        if !curve.exists() {
            let made = Command::new("openssl").args(["ecparam", "-name", "prime256v1", "-out"]).arg(&curve).output();
            assert!(made.unwrap().status.success());
        }
        let mut command = Command::new("openssl");
        let output = command.args(arguments.split_whitespace()).current_dir(self.directory.path()).output().unwrap();
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A key and a certificate that the first root signed.
    pub fn signed(&self, name: &str, subject: &str, extension: &str, days: &str) {
        std::fs::write(self.path("extensions"), extension).unwrap();
        self.openssl(&format!("req -newkey ec:EC -nodes -keyout {name}.key -out {name}.csr -subj {subject}"));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -days {days} -extfile extensions"
        ));
    }

    /// The same for a day that is over.
    pub fn expired(&self, name: &str, subject: &str, extension: &str) {
        std::fs::write(self.path("extensions"), extension).unwrap();
        std::fs::write(self.path("issued.txt"), "").unwrap();
        let settings = "[ca]\ndefault_ca=c\n[c]\ndatabase=issued.txt\nnew_certs_dir=.\ndefault_md=sha256\nrand_serial=yes\npolicy=p\n[p]\ncommonName=supplied\n";
        std::fs::write(self.path("issuing.cnf"), settings).unwrap();
        self.openssl(&format!("req -newkey ec:EC -nodes -keyout {name}.key -out {name}.csr -subj {subject}"));
        self.openssl(&format!(
            "ca -batch -notext -config issuing.cnf -keyfile ca.key -cert ca.pem -in {name}.csr -out {name}.pem \
             -startdate 20200101000000Z -enddate 20200102000000Z -extfile extensions"
        ));
    }
}

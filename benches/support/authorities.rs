//! The certificate authorities that a guard on a stage trusts.

use crate::support::Stage;

/// Makes the guard trust the machine's authorities besides the stage's own. A real guard reads all
/// of them, bundle and folder, and that is to be measured.
pub(crate) fn with_the_machines(stage: Stage) -> Stage {
    let openssl_probe::ProbeResult { cert_file, cert_dir, .. } = openssl_probe::probe();
    let read = |file| std::fs::read_to_string(file).expect("a bundle can be read");
    let machine = cert_file.map(read).unwrap_or_default();
    let own = read(stage.path("authority.pem"));
    stage.write("authority.pem", &format!("{machine}{own}"));
    if cert_dir.is_empty() {
        return stage;
    }
    let folders = std::env::join_paths(cert_dir).expect("paths that were split before");
    stage.env("SSL_CERT_DIR", folders.to_str().expect("plain text"))
}

//! Digests that identify the inputs and facts of a run in its evidence.

use std::io::Read;

use sha2::{Digest as _, Sha256};

/// SHA-256 in lower-case hexadecimal.
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of everything in `reader`, in lower-case hexadecimal. The content may be large.
///
/// # Errors
/// When reading fails.
pub(crate) fn sha256_of_reader(mut reader: impl Read) -> std::io::Result<String> {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut chunk = vec![0; 256 << 10];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => return Ok(hex(digest.finish().as_ref())),
            Ok(read) => digest.update(&chunk[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| hex_digits(*byte)).map(char::from).collect()
}

/// The two lower-case hexadecimal digits of a byte. Every request signed without the SDK needs 128
/// of them, so they do not go through the formatter.
pub(crate) const fn hex_digits(byte: u8) -> [u8; 2] {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    [DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readers_digest_is_that_of_its_bytes() {
        let bytes = vec![7_u8; (256 << 10) + 1];
        assert_eq!(sha256_of_reader(bytes.as_slice()).unwrap(), sha256(&bytes));
        assert_eq!(
            sha256("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}

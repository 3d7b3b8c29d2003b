//! Owns the list of misbehaviours that a test can request.

/// The value of `STANDIN_MISBEHAVE`: a comma-separated list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each wish is on or off, and any may go together"
)]
pub struct Misbehaviour {
    /// `ignore-sigterm`: SIGTERM does nothing.
    pub ignore_sigterm: bool,
    /// `second-cluster` or `second-cluster-unsafe`: once a `RunJobFlow` succeeded, another one is
    /// sent and never printed.
    pub second_cluster: Option<Second>,
    /// `drop-flag=N`: the Nth s3-dist-cp step, from 1, goes without `--s3ServerSideEncryption`.
    pub drop_flag: Option<usize>,
    /// `drop-security-configuration`: `RunJobFlow` goes without it.
    pub drop_security_configuration: bool,
    /// `drop-tags`: `RunJobFlow` goes with no tags.
    pub drop_tags: bool,
    /// `no-id`: no job flow id is ever printed.
    pub no_id: bool,
    /// `exit-0-idle`: exit 0 without reading the configuration or sending anything.
    pub exit_idle: bool,
    /// `flood=BYTES`: at least that many bytes of log lines come first.
    pub flood: Option<usize>,
    /// `invalid-utf8`: a line that is not UTF-8 comes first.
    pub invalid_utf8: bool,
    /// `exit=N`: exit N once the configuration was read.
    pub exit: Option<u8>,
    /// `forge-id=j-…`: a log line claims that this job flow was started.
    pub forge_id: Option<String>,
    /// `hang`: never ends once the cluster is started (or, a persistent one, given its steps).
    pub hang: bool,
    /// `leave-running`: claims success once the cluster has its steps, and terminates nothing.
    pub leave_running: bool,
}

/// The properties of the second cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Second {
    /// Just like the first.
    Identical,
    /// Without the security configuration.
    Unsafe,
}

impl Misbehaviour {
    /// Parses the list.
    ///
    /// # Errors
    /// The first unknown item: a test with a typing error must not pass for a good run.
    pub fn parse(list: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            wanted.add(item).ok_or_else(|| item.to_owned())?;
        }
        Ok(wanted)
    }

    fn add(&mut self, item: &str) -> Option<()> {
        match item.split_once('=') {
            None => match item {
                "ignore-sigterm" => self.ignore_sigterm = true,
                "second-cluster" => self.second_cluster = Some(Second::Identical),
                "second-cluster-unsafe" => self.second_cluster = Some(Second::Unsafe),
                "drop-security-configuration" => self.drop_security_configuration = true,
                "drop-tags" => self.drop_tags = true,
                "no-id" => self.no_id = true,
                "exit-0-idle" => self.exit_idle = true,
                "invalid-utf8" => self.invalid_utf8 = true,
                "hang" => self.hang = true,
                "leave-running" => self.leave_running = true,
                _ => return None,
            },
            Some(("drop-flag", nth)) => {
                self.drop_flag = Some(nth.parse().ok().filter(|nth| *nth > 0)?);
            }
            Some(("flood", bytes)) => self.flood = Some(bytes.parse().ok()?),
            Some(("exit", code)) => self.exit = Some(code.parse().ok()?),
            Some(("forge-id", id)) if id.starts_with("j-") => self.forge_id = Some(id.to_owned()),
            Some(_) => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Misbehaviour, Second};

    #[test]
    fn a_list_is_understood_item_by_item() {
        assert_eq!(
            Misbehaviour::parse("second-cluster-unsafe, drop-flag=2,exit=9,forge-id=j-FOREIGN"),
            Ok(Misbehaviour {
                second_cluster: Some(Second::Unsafe),
                drop_flag: Some(2),
                exit: Some(9),
                forge_id: Some("j-FOREIGN".to_owned()),
                ..Misbehaviour::default()
            })
        );
        assert_eq!(Misbehaviour::parse(""), Ok(Misbehaviour::default()));
    }

    #[test]
    fn an_item_that_is_not_understood_is_an_error_that_names_it() {
        for item in ["hangs", "drop-flag=0", "exit=256", "forge-id=x", "hang=1", "flood"] {
            assert_eq!(Misbehaviour::parse(item), Err(item.to_owned()));
        }
    }
}

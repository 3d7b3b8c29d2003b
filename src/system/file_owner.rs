//! Checks who owns a file or directory and who may write to it: the rule that decides whether
//! stored files count as this process's own.
//!
//! Access control lists are seen only as far as the mode shows them. A POSIX ACL that lets others
//! write shows as group write permission; an NFSv4 ACL does not show at all.

use std::{fmt, path::Path};

use nix::{
    sys::stat::{FileStat, SFlag},
    unistd::{Group, Uid, User, getegid, geteuid, getgroups},
};

/// Why a file or directory does not belong to this process alone.
#[derive(Debug, thiserror::Error)]
#[error("{path} {seen}; expected {expected}. fix: {fix}")]
pub(crate) struct NotOwnError {
    path: String,
    seen: String,
    expected: String,
    fix: String,
}

/// The role of a path in the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnedPath {
    /// A directory on the way to the target: nobody else may be able to replace its entries.
    Ancestor,
    /// A symbolic link on the way: nobody else may have created it.
    Link,
    /// A directory where this process stores files: nobody else may be able to create files in it.
    Directory,
    /// A file that this process wrote.
    File,
}

/// The user of this process, as far as files are concerned.
#[derive(Clone, Debug)]
pub(crate) struct FileUser {
    user: u32,
    groups: Vec<u32>,
    /// The user id that all users outside of this user namespace map to, if there is a namespace.
    unmapped: Option<u32>,
}

impl FileUser {
    /// The user of this process.
    pub(crate) fn this() -> Self {
        let mut groups: Vec<u32> =
            getgroups().unwrap_or_default().iter().map(|it| it.as_raw()).collect();
        groups.push(getegid().as_raw());
        Self { user: geteuid().as_raw(), groups, unmapped: unmapped() }
    }

    /// Checks that only this process's user, or root, can have created or changed the file with
    /// `status`.
    ///
    /// # Errors
    /// [`NotOwnError`] with the reason, for `path`.
    pub(crate) fn check(
        &self,
        kind: OwnedPath,
        status: &FileStat,
        path: &Path,
    ) -> Result<(), NotOwnError> {
        self.objection(kind, status, |group| self.has_alone(group))
            .map_or(Ok(()), |objection| Err(objection.of(self, path)))
    }

    fn objection(
        &self,
        kind: OwnedPath,
        status: &FileStat,
        has_alone: impl Fn(u32) -> bool,
    ) -> Option<Objection> {
        let is_on_the_way = matches!(kind, OwnedPath::Ancestor | OwnedPath::Link);
        let is_trusted = |owner| {
            owner == 0 || owner == self.user || (is_on_the_way && Some(owner) == self.unmapped)
        };
        if !is_trusted(status.st_uid) {
            return Some(Objection::Owner(status.st_uid));
        }
        let is_regular =
            SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFREG;
        match kind {
            // The mode of a symbolic link has no meaning.
            OwnedPath::Link => return None,
            OwnedPath::File if !is_regular => return Some(Objection::NoFile),
            OwnedPath::File if status.st_nlink > 1 => return Some(Objection::Names),
            // In a sticky directory only the owner of a file may rename or remove it.
            OwnedPath::Ancestor if status.st_mode & 0o1000 != 0 => return None,
            OwnedPath::File | OwnedPath::Ancestor | OwnedPath::Directory => {}
        }
        if status.st_mode & 0o002 != 0 {
            return Some(Objection::EveryUser);
        }
        (status.st_mode & 0o020 != 0 && !has_alone(status.st_gid))
            .then_some(Objection::Group(status.st_gid))
    }

    /// Whether the group is one of this process's groups and no other user is known to be in it.
    /// This holds for a user's private group, and for the `fsGroup` of a Kubernetes pod, which may
    /// write to the whole volume.
    fn has_alone(&self, group: u32) -> bool {
        let Ok(found) = Group::from_gid(group.into()) else { return false };
        let own = User::from_uid(Uid::from_raw(self.user)).ok().flatten().map(|user| user.name);
        let listed = found.map(|group| group.mem).unwrap_or_default();
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        self.groups.contains(&group)
            && listed.iter().all(|name| name == "root" || Some(name) == own.as_ref())
            && primary_members(&users, group).all(|user| user == 0 || user == self.user)
    }
}

/// The users with this primary group, from a file such as `/etc/passwd`. Source: passwd(5).
fn primary_members(passwd: &str, group: u32) -> impl Iterator<Item = u32> {
    passwd.lines().filter_map(move |line| {
        let mut fields = line.split(':').skip(2);
        let (user, primary) = (fields.next()?.parse().ok()?, fields.next()?.parse::<u32>().ok()?);
        (primary == group).then_some(user)
    })
}

/// In a user namespace, the user id that all users outside of it map to. Source:
/// user_namespaces(7).
fn unmapped() -> Option<u32> {
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    if map.split_whitespace().eq(["0", "0", "4294967295"]) {
        return None;
    }
    std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok()?.trim().parse().ok()
}

/// Why something does not count as this process's own.
#[derive(Debug, PartialEq, Eq)]
enum Objection {
    Owner(u32),
    EveryUser,
    Group(u32),
    NoFile,
    /// It has more than one hard link.
    Names,
}

impl Objection {
    fn of(&self, user: &FileUser, path: &Path) -> NotOwnError {
        let path = path.display().to_string();
        let own = named_user(user.user);
        let expected = match self {
            Self::NoFile | Self::Names => "a regular file with one name".to_owned(),
            _ if user.user == 0 => format!("that {own} owns it and no other user may write to it"),
            _ => format!("that {own}, or root, owns it and no other user may write to it"),
        };
        let look = "check that no other user has put anything there";
        let (seen, fix) = match self {
            Self::Owner(owner) => (
                format!("is owned by {}", named_user(*owner)),
                format!(
                    "run emr-etl-guard as {}, or give {own} a place of its own",
                    named_user(*owner)
                ),
            ),
            Self::EveryUser => (
                "may be written by every user".to_owned(),
                format!("{look}, then `chmod o-w {path}`, or name another place"),
            ),
            Self::Group(group) => (
                format!(
                    "may be written by {}, in which {own} is not known to be alone",
                    named_group(*group)
                ),
                format!("{look}, then `chmod g-w {path}`, or name another place"),
            ),
            Self::NoFile => ("is no regular file".to_owned(), format!("remove {path}")),
            Self::Names => (
                "has more than one name (hard links)".to_owned(),
                format!("{look}, then remove the other names"),
            ),
        };
        NotOwnError { path, seen, expected, fix }
    }
}

impl NotOwnError {
    /// A symbolic link in a place where this process's own file or directory is expected.
    pub(crate) fn link(path: &Path, expected: &str) -> Self {
        let path = path.display().to_string();
        Self {
            fix: format!("remove {path}, or name the place that it leads to"),
            seen: "is a symbolic link".to_owned(),
            expected: expected.to_owned(),
            path,
        }
    }
}

fn named(kind: &str, id: u32, name: Option<&str>) -> String {
    let shown: &dyn fmt::Display = match name {
        Some(name) => &format!(" ({name})"),
        None => &"",
    };
    format!("{kind} {id}{shown}")
}

fn named_user(id: u32) -> String {
    let user = User::from_uid(id.into()).ok().flatten();
    named("user", id, user.as_ref().map(|user| user.name.as_str()))
}

fn named_group(id: u32) -> String {
    let group = Group::from_gid(id.into()).ok().flatten();
    named("group", id, group.as_ref().map(|group| group.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTORY: u32 = 0o040_000;
    const REGULAR: u32 = 0o100_000;
    const FIFO: u32 = 0o010_000;

    /// A file status with this owner, group and mode, and one hard link.
    fn status(user: u32, group: u32, mode: u32) -> FileStat {
        let folder = tempfile::tempdir().unwrap();
        let mut status = nix::sys::stat::stat(folder.path()).unwrap();
        (status.st_uid, status.st_gid, status.st_mode, status.st_nlink) = (user, group, mode, 1);
        status
    }

    /// Checks as user and group 10001, who is in the groups 10001 and 2000, and is the only member
    /// of 10001.
    fn objection(kind: OwnedPath, user: u32, group: u32, mode: u32) -> Option<Objection> {
        let process = FileUser { user: 10_001, groups: vec![10_001, 2000], unmapped: None };
        process.objection(kind, &status(user, group, mode), |group| group == 10_001)
    }

    #[test]
    fn directories_are_accepted_as_packages_systemd_and_kubernetes_make_them() {
        let directory =
            |user, group, mode| objection(OwnedPath::Directory, user, group, DIRECTORY | mode);
        for (user, group, mode) in [
            (10_001, 10_001, 0o700),
            (10_001, 10_001, 0o750),
            (10_001, 10_001, 0o755),
            // With `fsGroup` a volume belongs to root, and to the group of the pod.
            (0, 10_001, 0o2775),
            (0, 10_001, 0o2770),
            // A group that may have other members may read.
            (10_001, 2000, 0o750),
            // The directory is not writable; the first write reports that.
            (0, 0, 0o755),
        ] {
            assert_eq!(directory(user, group, mode), None, "{user}:{group} {mode:o}");
        }
        assert_eq!(directory(10_001, 10_001, 0o777), Some(Objection::EveryUser));
        assert_eq!(directory(0, 10_001, 0o2777), Some(Objection::EveryUser));
        assert_eq!(directory(0, 0, 0o1777), Some(Objection::EveryUser), "others make files there");
        assert_eq!(directory(10_001, 2000, 0o770), Some(Objection::Group(2000)));
        assert_eq!(directory(10_001, 3000, 0o2775), Some(Objection::Group(3000)));
        assert_eq!(directory(1000, 10_001, 0o2770), Some(Objection::Owner(1000)));
        assert_eq!(directory(1000, 1000, 0o755), Some(Objection::Owner(1000)));
    }

    #[test]
    fn a_file_is_regular_has_one_name_and_is_written_by_nobody_else() {
        let file = |user, group, mode| objection(OwnedPath::File, user, group, mode);
        assert_eq!(file(10_001, 10_001, REGULAR | 0o600), None);
        assert_eq!(file(10_001, 10_001, REGULAR | 0o660), None, "after a mount under fsGroup");
        assert_eq!(file(0, 0, REGULAR | 0o644), None);
        assert_eq!(file(10_001, 10_001, REGULAR | 0o602), Some(Objection::EveryUser));
        assert_eq!(file(10_001, 2000, REGULAR | 0o660), Some(Objection::Group(2000)));
        assert_eq!(file(1000, 10_001, REGULAR | 0o600), Some(Objection::Owner(1000)));
        assert_eq!(file(10_001, 10_001, FIFO | 0o600), Some(Objection::NoFile));
        let process = FileUser { user: 10_001, groups: Vec::new(), unmapped: None };
        let mut linked = status(10_001, 10_001, REGULAR | 0o600);
        linked.st_nlink = 2;
        assert_eq!(process.objection(OwnedPath::File, &linked, |_| true), Some(Objection::Names));
    }

    #[test]
    fn on_the_way_only_root_and_the_user_may_replace_what_follows() {
        let above =
            |user, group, mode| objection(OwnedPath::Ancestor, user, group, DIRECTORY | mode);
        assert_eq!(above(0, 0, 0o755), None);
        assert_eq!(above(0, 0, 0o1777), None, "/tmp");
        assert_eq!(above(10_001, 10_001, 0o775), None);
        assert_eq!(above(0, 0, 0o777), Some(Objection::EveryUser));
        assert_eq!(above(0, 50, 0o2775), Some(Objection::Group(50)));
        assert_eq!(above(1000, 1000, 0o755), Some(Objection::Owner(1000)));
        // The owner of a sticky directory may remove its entries.
        assert_eq!(above(1000, 1000, 0o1777), Some(Objection::Owner(1000)));
        let link = |user| objection(OwnedPath::Link, user, 0, 0o120_777);
        assert_eq!((link(0), link(10_001), link(1000)), (None, None, Some(Objection::Owner(1000))));
    }

    #[test]
    fn who_is_outside_of_the_namespace_is_trusted_on_the_way_alone() {
        let process = FileUser { user: 10_001, groups: Vec::new(), unmapped: Some(65_534) };
        let objection =
            |kind, mode| process.objection(kind, &status(65_534, 65_534, mode), |_| false);
        assert_eq!(objection(OwnedPath::Ancestor, DIRECTORY | 0o755), None);
        assert_eq!(objection(OwnedPath::Ancestor, DIRECTORY | 0o777), Some(Objection::EveryUser));
        assert_eq!(
            objection(OwnedPath::Directory, DIRECTORY | 0o755),
            Some(Objection::Owner(65_534))
        );
        assert_eq!(objection(OwnedPath::File, REGULAR | 0o600), Some(Objection::Owner(65_534)));
    }

    #[test]
    fn users_with_the_group_as_their_own_are_found() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nsync:x:4:65534::/bin:/bin/sync\nodd\na:x:7:100:\nb:x:8:100:\n";
        assert_eq!(primary_members(passwd, 100).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(primary_members(passwd, 1).count(), 0);
    }

    #[test]
    fn what_is_wrong_is_said_with_what_is_expected_and_what_to_do() {
        let root = FileUser { user: 0, groups: vec![0], unmapped: None };
        let said =
            |objection: Objection, user: &FileUser| objection.of(user, Path::new("/s")).to_string();
        assert_eq!(
            said(Objection::Owner(54_321), &root),
            "/s is owned by user 54321; expected that user 0 (root) owns it and no other user may \
             write to it. fix: run emr-etl-guard as user 54321, or give user 0 (root) a place of \
             its own"
        );
        let user = FileUser { user: 54_321, ..root };
        assert_eq!(
            said(Objection::EveryUser, &user),
            "/s may be written by every user; expected that user 54321, or root, owns it and no \
             other user may write to it. fix: check that no other user has put anything there, \
             then `chmod o-w /s`, or name another place"
        );
    }
}

//! Which users, apart from this user and root, can replace the program at a path.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;

/// Who can change what a path leads to. Ordered: later is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Writers {
    /// Root, this user, and groups that they chose to share it with.
    Own,
    /// One other user, who owns it.
    Another,
    /// Every user of this machine; or it is unknown, because it depends on the working directory.
    Everybody,
}

const WORLD_WRITABLE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Who can put another file at or below `path`, along the path as written and along its symbolic
/// links.
///
/// Access control lists and groups are not checked. A path that does not exist counts for whoever
/// can create it.
pub(crate) fn writers(path: &Path) -> Writers {
    if !path.is_absolute() {
        return Writers::Everybody;
    }
    let real = std::fs::canonicalize(path).ok();
    [Some(path.to_owned()), real].into_iter().flatten().map(|path| along(&path)).max().unwrap_or(
        // Not reached: `path` itself is always in the list.
        Writers::Everybody,
    )
}

/// The worst case along the way from the root.
fn along(path: &Path) -> Writers {
    let mut worst = Writers::Own;
    let mut folder = PathBuf::new();
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        folder.push(part);
        let Ok(data) = std::fs::metadata(&folder) else { break };
        let next = parts.peek().map(|part| folder.join(part));
        worst = worst.max(of(&data, next.as_deref()));
    }
    worst
}

/// Who can replace `next` in the directory with metadata `data`; without `next`, who can create any
/// file in it.
fn of(data: &Metadata, next: Option<&Path>) -> Writers {
    let owner = if is_own(data) { Writers::Own } else { Writers::Another };
    if data.mode() & WORLD_WRITABLE == 0 {
        return owner;
    }
    // In a sticky directory everybody can create files, but only their owners can replace them.
    let is_kept = data.mode() & STICKY != 0
        && next.is_some_and(|next| std::fs::symlink_metadata(next).is_ok_and(|it| is_own(&it)));
    if is_kept { owner } else { Writers::Everybody }
}

fn is_own(data: &Metadata) -> bool {
    data.uid() == 0 || data.uid() == geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_that_everybody_may_write_to_is_everybodys_and_so_is_what_lies_below() {
        let top = tempfile::tempdir().unwrap();
        let (open, below) = (top.path().join("open"), top.path().join("open/below"));
        std::fs::create_dir_all(&below).unwrap();
        assert_eq!(writers(&below), Writers::Own, "in a sticky folder, and one's own");
        set_mode(&open, 0o777);
        assert_eq!(writers(&open), Writers::Everybody);
        assert_eq!(writers(&below), Writers::Everybody);
        set_mode(&open, 0o1777);
        assert_eq!(writers(&open), Writers::Everybody);
        assert_eq!(writers(&below), Writers::Own);
        assert_eq!(writers(&open.join("to-come")), Writers::Everybody);
        set_mode(&open, 0o775);
        assert_eq!(writers(&open), Writers::Own, "a group is somebody's choice");
    }

    #[test]
    fn a_link_is_followed_and_so_is_the_way_to_it() {
        let top = tempfile::tempdir().unwrap();
        let (open, closed) = (top.path().join("open"), top.path().join("closed"));
        for folder in [&open, &closed] {
            std::fs::create_dir(folder).unwrap();
        }
        set_mode(&open, 0o777);
        std::os::unix::fs::symlink(&open, top.path().join("to-open")).unwrap();
        std::os::unix::fs::symlink(&closed, open.join("to-closed")).unwrap();
        assert_eq!(writers(&top.path().join("to-open")), Writers::Everybody);
        assert_eq!(writers(&open.join("to-closed")), Writers::Everybody);
        assert_eq!(writers(&closed), Writers::Own);
    }

    #[test]
    fn what_depends_on_where_a_program_starts_is_everybodys() {
        for path in ["", ".", "bin"] {
            assert_eq!(writers(Path::new(path)), Writers::Everybody, "{path}");
        }
        for path in ["/usr/bin", "/usr/../bin"] {
            assert_eq!(writers(Path::new(path)), Writers::Own, "{path}");
        }
    }
}

//! What this process tells the service manager that started it (systemd, and others with the same
//! protocol): that it is ready, that it still works, that it stops.
//!
//! Source: sd_notify(3) and sd_watchdog_enabled(3): datagrams of lines `NAME=value` to the Unix
//! socket that the variable NOTIFY_SOCKET names.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// The service manager, if it waits for notifications.
#[derive(Debug)]
pub(crate) struct ServiceManager(Option<Notifications>);

#[derive(Debug)]
struct Notifications {
    socket: UnixDatagram,
    manager: SocketAddr,
    /// The last notification failed, and that was logged. It does not end the work, and is not
    /// logged every few seconds.
    failed: bool,
}

/// A notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceState {
    /// The work has begun.
    Ready,
    /// The work goes on; to be repeated within `WatchdogSec=`.
    Alive,
    /// The process is about to end.
    Stopping,
}

impl ServiceState {
    fn line(self) -> &'static [u8] {
        match self {
            Self::Ready => b"READY=1",
            Self::Alive => b"WATCHDOG=1",
            Self::Stopping => b"STOPPING=1",
        }
    }
}

impl ServiceManager {
    /// The one of this process's environment. A socket that cannot be used is logged, and is then
    /// the same as none: a manager that waits for a notification ends the process by itself.
    pub(crate) fn of_environment() -> Self {
        Self::at(std::env::var_os("NOTIFY_SOCKET"))
    }

    fn at(socket: Option<OsString>) -> Self {
        let Some(path) = socket.filter(|path| !path.is_empty()) else { return Self(None) };
        match open(&path) {
            Ok((socket, manager)) => Self(Some(Notifications { socket, manager, failed: false })),
            Err(error) => {
                tracing::error!(%error, ?path, "NOTIFY_SOCKET cannot be used");
                Self(None)
            }
        }
    }

    /// Notifies the service manager. It never blocks: a manager that reads nothing misses it.
    pub(crate) fn notify(&mut self, state: ServiceState) {
        let Some(to) = &mut self.0 else { return };
        match to.socket.send_to_addr(state.line(), &to.manager) {
            Ok(_) => to.failed = false,
            Err(error) if !to.failed => {
                tracing::error!(%error, ?state, "the service manager cannot be notified");
                to.failed = true;
            }
            Err(_) => {}
        }
    }
}

/// A socket, and the address behind `path`: a path, or after `@` a name in the abstract namespace.
fn open(path: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let manager = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(path)?,
        _ => return Err(io::Error::from(io::ErrorKind::Unsupported)),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, manager))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What arrives at a manager when all three states are sent.
    fn told(manager: &UnixDatagram, address: OsString) -> Vec<String> {
        manager.set_nonblocking(true).unwrap();
        let mut service = ServiceManager::at(Some(address));
        for state in [ServiceState::Ready, ServiceState::Alive, ServiceState::Stopping] {
            service.notify(state);
        }
        let mut buffer = [0; 64];
        // A datagram is in the receiver's queue when `send` has returned.
        let lines = std::iter::from_fn(|| {
            let count = manager.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
        });
        lines.collect()
    }

    const ALL: [&str; 3] = ["READY=1", "WATCHDOG=1", "STOPPING=1"];

    #[test]
    fn a_manager_at_a_path_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        assert_eq!(told(&manager, path.into_os_string()), ALL);
    }

    #[test]
    fn a_manager_with_an_abstract_name_is_told() {
        let name = format!("emr-etl-guard-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        assert_eq!(told(&manager, format!("@{name}").into()), ALL);
    }

    #[test]
    fn without_a_manager_or_with_one_that_is_gone_or_full_nothing_happens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        for socket in [None, Some(OsString::new()), Some("vsock:2:1".into())] {
            assert!(ServiceManager::at(socket).0.is_none());
        }
        ServiceManager::at(Some(path.clone().into())).notify(ServiceState::Ready);

        let _never_reads = UnixDatagram::bind(&path).unwrap();
        let mut service = ServiceManager::at(Some(path.into()));
        for _ in 0..10_000 {
            service.notify(ServiceState::Alive);
        }
        assert!(service.0.is_some_and(|to| to.failed), "the manager's queue has a limit");
    }
}

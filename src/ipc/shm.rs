// SPDX-License-Identifier: LGPL-2.1-or-later
//! The classic shared-memory transport: a private directory per connection with three rings in it, and the stream socket
//! as doorbell.
//!
//! The server makes the directory and the files, and reaches them by descriptor ever after. The client opens only what
//! has the shape, owner and size that a server makes. Both keep lengths and their own ring index in private memory.

use super::service::Auth;
use crate::rb::{Expect, RingFiles};
use crate::sys::dir::Dir;
use crate::sys::process;
use crate::sys::socket::Credentials;
use crate::wire::{ConnectResponse, DirectoryName, split_in_directory};
use crate::{Error, Result};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// Where rings and control files live.
pub(super) const ROOT: &str = "/dev/shm";

/// Words of user data behind a ring's header; the request ring's first one is flow control.
const USER_DATA: usize = 4;

/// Agreed size from which on the server maps its requests twice: below, copying a request that wraps costs less than the
/// mappings do.
const MIRROR_FROM: u32 = 64 << 10;

/// What a ring's `ref_count` says while both sides hold it.
const BOTH_SIDES: i32 = 2;

/// The directory of one connection, removed with the connection by the process that made it.
pub(super) struct ConnectionDir {
    pub dir: Dir,
    owner_pid: i32,
}

impl ConnectionDir {
    /// Makes the directory for a client. It stays ours; the client's group may search it. When the group is not known to
    /// be one of the client's, everybody may: the name cannot be guessed and the files inside have modes of their own.
    pub fn make(name: &DirectoryName, peer: &Credentials, auth: &Auth) -> Result<Self> {
        let made =
            Self { dir: Dir::create_unique(Path::new(ROOT), &name.prefix())?, owner_pid: process::pid() };
        let same_group = auth.gid == peer.gid;
        if peer.uid != process::euid() && peer.uid != 0 {
            tolerate_eperm(made.dir.chown_self(u32::MAX, auth.gid))?;
            made.dir.chmod_self(if same_group { 0o710 } else { 0o711 })?;
        }
        Ok(made)
    }

    /// The path of something that belongs to the connection: `<directory>/qb-<what>`.
    pub fn path_of(&self, what: &[u8]) -> Vec<u8> {
        [self.dir.path().as_os_str().as_bytes(), b"/qb-", what].concat()
    }

    /// Whether this process made it; a child that inherited it must leave everything alone.
    pub fn is_ours(&self) -> bool {
        process::pid() == self.owner_pid
    }
}

impl Drop for ConnectionDir {
    fn drop(&mut self) {
        if self.is_ours() {
            // A client of the C library may have removed it; there is nobody to tell.
            let _ = self.dir.remove_self();
        }
    }
}

/// A server without the right to give files away leaves them as they are, like the reference.
pub(super) fn tolerate_eperm(result: Result<()>) -> Result<()> {
    match result {
        Err(Error::Os(libc::EPERM)) => Ok(()),
        r => r,
    }
}

/// The three rings of a connection on the server's side.
pub(super) struct ServerRings {
    pub request: Arc<RingFiles>,
    pub response: Arc<RingFiles>,
    pub event: Arc<RingFiles>,
}

impl ServerRings {
    /// Makes the rings in the connection's directory and fills in their names for the client.
    pub fn make(
        dir: &ConnectionDir,
        service: &[u8],
        max_msg_size: u32,
        auth: &Auth,
        answer: &mut ConnectResponse,
    ) -> Result<Self> {
        let mut made: Vec<Arc<RingFiles>> = Vec::with_capacity(3);
        for kind in ["request", "response", "event"] {
            let what = [kind.as_bytes(), b"-", service].concat();
            let path = dir.path_of(&what);
            let ring = RingFiles::create_in(
                &dir.dir,
                [b"qb-", what.as_slice()].concat(),
                Path::new(OsStr::from_bytes(&path)),
                max_msg_size as usize,
                USER_DATA,
                Some((auth.uid, auth.gid)),
                auth.mode,
                true,
                kind == "request" && max_msg_size >= MIRROR_FROM,
            );
            match ring {
                Ok(ring) => made.push(Arc::new(ring)),
                Err(e) => {
                    made.iter().for_each(|ring| ring.unlink(&dir.dir));
                    return Err(e);
                }
            }
            let name = match kind {
                "request" => &mut answer.request,
                "response" => &mut answer.response,
                _ => &mut answer.event,
            };
            *name = path;
        }
        let mut rings = made.into_iter();
        match (rings.next(), rings.next(), rings.next()) {
            (Some(request), Some(response), Some(event)) => Ok(Self { request, response, event }),
            _ => Err(Error::Invalid),
        }
    }

    /// Tells the client that this side is gone, and removes the files.
    pub fn withdraw(&self, dir: &ConnectionDir) {
        if !dir.is_ours() {
            return;
        }
        for ring in [&self.request, &self.response, &self.event] {
            ring.set_ref_count(1);
            ring.unlink(&dir.dir);
        }
    }
}

/// The three rings of a connection on the client's side.
pub(super) struct ClientRings {
    pub request: Arc<RingFiles>,
    pub response: Arc<RingFiles>,
    pub event: Arc<RingFiles>,
    dir: Dir,
}

impl ClientRings {
    /// Opens what the server named, if it is what a server makes for us.
    pub fn open(answer: &ConnectResponse, server: &Credentials) -> Result<Self> {
        let (dir, _) = open_directory(&answer.request, server)?;
        let owners = owners(server);
        let ring = |name: &[u8]| -> Result<Arc<RingFiles>> {
            let (directory, file) = split_in_directory(ROOT.as_bytes(), name)?;
            if !dir.path().as_os_str().as_encoded_bytes().ends_with(directory) {
                return Err(Error::Corrupt);
            }
            let expect = Expect { size: answer.max_msg_size as usize, user_data: USER_DATA, owners: &owners };
            Ok(Arc::new(RingFiles::open_in(&dir, file, &expect)?))
        };
        let (request, response, event) =
            (ring(&answer.request)?, ring(&answer.response)?, ring(&answer.event)?);
        Ok(Self { request, response, event, dir })
    }

    /// Whether the server still holds its side of the request ring.
    pub fn server_holds(&self) -> bool {
        self.request.ref_count() == BOTH_SIDES
    }

    /// Tells the server that this side is gone.
    pub fn let_go(&self) {
        for ring in [&self.request, &self.response, &self.event] {
            ring.set_ref_count(1);
        }
    }

    /// Removes what the server left behind when it died: only files that were verified when they were opened.
    pub fn remove_leftovers(&self) {
        for ring in [&self.request, &self.response, &self.event] {
            ring.unlink(&self.dir);
        }
        let _ = self.dir.remove_self();
    }
}

/// Opens the directory of a connection for which the server gave the name of one file; returns that file's name too.
pub(super) fn open_directory<'a>(name: &'a [u8], server: &Credentials) -> Result<(Dir, &'a [u8])> {
    let (directory, file) = split_in_directory(ROOT.as_bytes(), name)?;
    let shape = DirectoryName::parse(directory).ok_or(Error::Corrupt)?;
    // A server in another pid namespace (pid 0 here) counts processes differently.
    if server.pid > 0 && (shape.server_pid != server.pid || shape.client_pid != process::pid()) {
        return Err(Error::Corrupt);
    }
    let path = Path::new(ROOT).join(OsStr::from_bytes(directory));
    Ok((Dir::open(&path, &owners(server))?, file))
}

/// Who may own what a server made for us: the server or root, or we, to whom it may have been given. A server that runs as
/// root may have given it to anybody on its application's behalf.
pub(super) fn owners(server: &Credentials) -> Vec<u32> {
    if server.uid == 0 { Vec::new() } else { vec![server.uid, 0, process::euid()] }
}

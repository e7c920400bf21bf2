// SPDX-License-Identifier: LGPL-2.1-or-later
//! The native protocol of the systemd journal: one datagram with one field per line. No library is needed for it, and without a
//! journal the message goes nowhere, as with libsystemd.

#![forbid(unsafe_code)]

use qb::log::Delivery;
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Sends one message. Errors have nowhere to go.
pub fn send(severity: i32, d: &Delivery<'_>) {
    static CLIENT: OnceLock<Option<UnixDatagram>> = OnceLock::new();
    let client = CLIENT.get_or_init(|| {
        let socket = UnixDatagram::unbound().ok()?;
        // A journal that does not keep up must not hold up the program for ever.
        socket.set_write_timeout(Some(std::time::Duration::from_secs(5))).ok()?;
        Some(socket)
    });
    if let Some(client) = client {
        let _ = client.send_to(&entry(severity, d), SOCKET);
    }
}

fn entry(severity: i32, d: &Delivery<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    if let Some(id) = d.site.message_id() {
        field(&mut out, "MESSAGE_ID", id.to_bytes());
    }
    field(&mut out, "PRIORITY", severity.to_string().as_bytes());
    field(&mut out, "CODE_LINE", d.site.head.line().to_string().as_bytes());
    field(&mut out, "CODE_FILE", d.site.filename().to_bytes());
    field(&mut out, "CODE_FUNC", d.site.function().to_bytes());
    field(&mut out, "SYSLOG_IDENTIFIER", d.options.name.to_bytes());
    field(&mut out, "MESSAGE", d.text.strip_suffix(b"\0").unwrap_or(d.text));
    out
}

/// `KEY=value`, or the form with a length when the value has a newline, so that no text can add fields of its own.
fn field(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    out.extend_from_slice(key.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newline_in_a_value_cannot_add_a_field() {
        let mut out = Vec::new();
        field(&mut out, "A", b"x");
        field(&mut out, "B", b"1\nC=2");
        assert_eq!(out, b"A=x\nB\n\x05\0\0\0\0\0\0\x001\nC=2\n");
    }
}

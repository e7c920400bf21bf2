// SPDX-License-Identifier: LGPL-2.1-or-later
//! The differences that are meant, each with its reason. `make abi` prints each one that it meets; an entry that it never
//! prints has served its time.

/// Header, item, reason.
const DIFFERENCES: &[(&str, &str, &str)] = &[(
    "qbconfig.h",
    "const QB_VER_MICRO",
    "we offer the interface of 2.0.10, the reference here is an older 2.0.x",
)];

/// Headers that the reference does not have, and why we have them.
pub const OWN_HEADERS: &[(&str, &str)] =
    &[("qbipc_ext.h", "messages in place and in batches, beyond the interface of libqb")];

/// Undefined symbols without a version that are no dependency on another library, and why.
pub const UNVERSIONED: &[(&str, &str)] = &[
    ("__tls_get_addr", "provided by the dynamic loader, which every dynamic program has"),
    ("__gmon_start__", "weak, of the C start-up files"),
    ("_ITM_deregisterTMCloneTable", "weak, of the C start-up files"),
    ("_ITM_registerTMCloneTable", "weak, of the C start-up files"),
];

/// Why `item` of `header` may differ, if it may.
pub fn reason(header: &str, item: &str) -> Option<&'static str> {
    DIFFERENCES.iter().find(|(h, i, _)| *h == header && *i == item).map(|(_, _, reason)| *reason)
}

# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs around a cluster that use the library, too: usbguard, sbd, corosync's notify daemon, and booth through crm_ticket."""
import re
import shlex
import signal

import scenarios as s
from report import wait_until

# One root hub, as the kernel would show it: enough for usbguard to find a device, hash it and decide about it.
USB_TREE = r"""
mount -t tmpfs tmpfs /sys
bus=/sys/devices/pci0000:00 hub=/sys/devices/pci0000:00/0000:00:14.0/usb1
mkdir -p $hub /sys/bus/usb/devices
: > $bus/uevent; printf 'DRIVER=xhci_hcd\nPCI_CLASS=C0330\n' > $bus/0000:00:14.0/uevent
printf 'MAJOR=189\nMINOR=0\nDEVNAME=bus/usb/001/001\nDEVTYPE=usb_device\nDRIVER=usb\nPRODUCT=1d6b/2/510\nTYPE=9/0/1\nBUSNUM=001\nDEVNUM=001\n' > $hub/uevent
printf '\022\001\000\002\011\000\001\100\153\035\002\000\020\005\003\002\001\001\011\002\031\000\001\001\000\340\000\011\004\000\000\001\011\000\000\000\007\005\201\003\004\000\014' > $hub/descriptors
for word in idVendor=1d6b idProduct=0002 product=Dummy serial=dropin-1 authorized=1 authorized_default=1 bDeviceClass=09 removable=unknown; do echo ${word#*=} > $hub/${word%%=*}; done
: > $hub/remove; ln -s ../../../../bus/usb $hub/subsystem; ln -s ../../../devices/pci0000:00/0000:00:14.0/usb1 /sys/bus/usb/devices/usb1
"""
USB_CONF = """RuleFile=/run/usbguard/rules.conf
ImplicitPolicyTarget=block
PresentDevicePolicy=apply-policy
PresentControllerPolicy=keep
InsertedDevicePolicy=apply-policy
DeviceManagerBackend=uevent
IPCAllowedUsers=root
IPCAllowedGroups=root
IPCAccessControlFiles=/run/usbguard/acl/
AuditBackend=FileAudit
AuditFilePath=/var/log/usbguard/audit.log
"""
# What the client is asked in this order, its exit status, and a regular expression that the answer matches.
USB_TALK = [
    ("list-devices", 0, r'^1: allow id 1d6b:0002 serial "dropin-1" name "Dummy"'),
    ("append-rule 'allow id 1d6b:0002'", 0, r"^2$"),
    ("append-rule 'block id dead:beef'", 0, r"^3$"),
    ("list-rules", 0, r"^2: allow id 1d6b:0002\n3: block id dead:beef$"),
    ("get-parameter ImplicitPolicyTarget", 0, r"^block$"),
    ("set-parameter ImplicitPolicyTarget reject && usbguard get-parameter ImplicitPolicyTarget", 0, r"^reject$"),
    ("remove-rule 3 && usbguard list-rules", 0, r"\A2: allow id 1d6b:0002$"),
    ("remove-rule 77", 1, r"id doesn't exist"),
    ("allow-device 99", 1, r"id doesn't exist"),
]


def usbguard(report, node):
    """The daemon with one device, its command-line client, many clients at once, and one that may not."""
    node.sh(f"{USB_TREE}\nmkdir -p /run/usbguard/acl /var/log/usbguard; umask 077; : > /run/usbguard/rules.conf; printf %s {shlex.quote(USB_CONF)} > /run/usbguard/daemon.conf")
    node.spawn("exec usbguard-daemon -k -c /run/usbguard/daemon.conf", log="/var/log/usbguard/daemon.log")
    up = wait_until(lambda: node.sh("usbguard list-devices").returncode == 0, 120)
    if not report.check(up, "usbguard-daemon answers its client", node.out("usbguard list-devices; tail -n 20 /var/log/usbguard/daemon.log")):
        return
    report.check(node.loaded().get("usbguard-daemon", "").startswith(node.library_dir(node.lib) + "/"), f"usbguard-daemon runs on {node.lib}", node.loaded())
    for command, status, expected in USB_TALK:
        result = node.sh(f"usbguard {command}")
        report.check(result.returncode == status and re.search(expected, result.stdout, re.M), f"`usbguard {command}` answers", f"exit status {result.returncode}\n{result.stdout}")
    watch = node.spawn("exec usbguard watch", node.tools, log="/run/watch")
    report.check(wait_until(lambda: "Connected" in node.out("cat /run/watch"), 120), "usbguard watch connects", node.out("cat /run/watch"))
    node.sh("usbguard set-parameter ImplicitPolicyTarget block")
    report.check(wait_until(lambda: re.search(r"PropertyParameterChanged|ImplicitPolicyTarget", node.out("cat /run/watch")), 120), "and sees an event", node.out("cat /run/watch"))
    script = "for c in $(seq 16); do ( for i in $(seq 20); do usbguard list-rules | grep -q 1d6b:0002 || exit 1; done ) & jobs[c]=$!; done; for j in ${jobs[@]}; do wait $j || exit 1; done"
    result = node.sh(script, 120)
    report.check(result.returncode == 0, "320 requests of 16 clients at once", result.stdout)
    result = node.sh(f"setpriv --reuid nobody --regid nogroup --clear-groups env LD_LIBRARY_PATH={node.library_dir(node.tools)} usbguard list-rules")
    report.check(result.returncode == 1 and "Operation not permitted" in result.stdout, "another user is refused", result.stdout)
    node.sh("pkill -x usbguard; true")
    watch.wait()
    node.kill("usbguard-daemon", signal.SIGTERM)
    report.check(wait_until(lambda: not node.pids("usbguard-daemon"), 120), "usbguard-daemon ends on SIGTERM", node.out("ps ax"))
    left = s.left_in_shm(node)
    print(f"     {report.context}: left in /dev/shm: {left}")
    report.check(not left or node.lib == "reference", "nothing is left in /dev/shm", left)


def notifyd(report, node):
    """Corosync's notify daemon hears of programs that connect."""
    if report.check(node.pids("corosync-notifyd"), "corosync-notifyd runs beside corosync", node.out("cat /var/log/notifyd.log")):
        report.check(node.loaded().get("corosync-notifyd", "").startswith(node.library_dir(node.lib) + "/"), f"corosync-notifyd runs on {node.lib}", node.loaded())
    node.sh("corosync-cpgtool")
    for expected in (r"node1\[1\] is now quorate", r"corosync-cpgtoo is now connected to corosync", r"corosync-cpgtoo is now disconnected from corosync"):
        report.check(wait_until(lambda e=expected: re.search(e, node.out("cat /var/log/notifyd.log")), 10), f"it says `{expected}`", node.out("tail -n 20 /var/log/notifyd.log"))
    node.kill("corosync-notifyd", signal.SIGTERM)
    report.check(wait_until(lambda: not node.pids("corosync-notifyd"), 10), "and ends on SIGTERM", node.out("ps ax"))


# A /dev of the node's own, because sbd and booth speak to /dev/log only. Should sbd want to reboot the machine by force, then
# it finds no such file; reboot(2) in a PID namespace ends that namespace.
PRIVATE_DEV = """set -e
mkdir /run/dev; mount -t tmpfs -o mode=755 tmpfs /run/dev
cd /dev; for f in null zero full random urandom tty loop-control loop*; do [ ! -e $f ] || cp -a $f /run/dev/; done
mkdir /run/dev/shm; mount --bind /dev/shm /run/dev/shm; mount --rbind /run/dev /dev
for f in /proc/sysrq-trigger /proc/sys/kernel/sysrq; do [ ! -e $f ] || mount --bind /dev/null $f; done"""
LOG_SINK = """exec python3 -u -c 'import os, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("/dev/log")
os.chmod("/dev/log", 0o666)
while True: print(s.recv(65536).decode(errors="replace").rstrip())'"""


def sbd(report, node):
    """A shared disk of one node, and servants that watch Pacemaker and Corosync through the library. There is no watchdog
    here, so it runs without (-W twice), and says what it would do instead of doing it (-Z twice)."""
    result = node.sh("truncate -s 8M /run/sbd.img && losetup -f --show /run/sbd.img")
    disk = result.stdout.strip().splitlines()[-1] if result.returncode == 0 else ""
    if not disk.startswith("/dev/loop"):
        print(f"     {report.context}: no loop device here ({result.stdout.strip()}): sbd is not applicable", flush=True)
        return
    try:
        def log():
            return node.out("grep -a 'sbd\\[' /var/log/syslog | grep -av debug: | tail -n 30")
        result = node.sh(f"sbd -d {disk} -1 10 -4 20 create && sbd -d {disk} dump", 40)
        report.check(result.returncode == 0 and "Number of slots" in result.stdout, "sbd prepares its disk", result.stdout)
        node.spawn(f"exec sbd -v -v -R -W -W -Z -Z -P -d {disk} -n node1 -p /run/sbd.pid watch", log="/var/log/sbd.log")
        for servant in ("cluster", "pcmk"):
            report.check(wait_until(lambda w=servant: f"Servant {w} is healthy" in node.out("cat /var/log/syslog"), 120, 1), f"sbd's servant {servant} is healthy", log())
        report.check(node.loaded().get("sbd", "").startswith(node.library_dir(node.lib) + "/"), f"sbd runs on {node.lib}", node.loaded())
        # Two seconds after its start it empties its slot; what is written before would be lost.
        report.check(wait_until(lambda: "zeroing inbox" in node.out("cat /var/log/syslog"), 120, 1), "sbd watches its slot", log())
        result = node.sh(f"sbd -d {disk} list", 20)
        report.check(re.search(r"^0\s+node1\s+clear", result.stdout, re.M), "the node owns a slot", result.stdout)
        result = node.sh(f"sbd -d {disk} message node1 exit", 40)
        report.check(wait_until(lambda: not node.pids("sbd"), 120), "sbd ends when its disk says so", result.stdout + log())
        bad = node.out("grep -aE 'sbd.*(segfault|assert|panick)' /var/log/syslog")
        report.check(not bad.strip(), "sbd's log tells of no crash", bad)
    finally:
        node.sh(f"for p in $(pgrep -x sbd); do kill -9 $p; done; losetup -d {disk}")


BOOTH_CONF = """transport = UDP
port = 9929
site = 10.77.0.1
arbitrator = 10.77.0.101
arbitrator = 10.77.0.102
ticket = "ticketA"
expire = 600
timeout = 5
retries = 5
"""


def booth(report, node):
    """boothd does not load the library; it changes tickets of the cluster through crm_ticket, which does."""
    linked = node.out("LD_TRACE_LOADED_OBJECTS=1 $(command -v boothd)")
    report.check("libqb" not in linked and "libc.so" in linked, "boothd does not use the library itself", linked)
    result = node.sh("LD_TRACE_LOADED_OBJECTS=1 $(command -v crm_ticket)")
    report.check(node.library_dir(node.tools) + "/libqb.so" in result.stdout, f"crm_ticket runs on {node.tools}", result.stdout)
    # Its look at the interfaces never ends on kernels that send a dump and its end in one piece; without IPv6 there is no dump.
    node.sh(f"echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip addr add 10.77.0.101/24 dev eth0; ip addr add 10.77.0.102/24 dev eth0; mkdir -p /run/booth; printf %s {shlex.quote(BOOTH_CONF)} > /run/booth/booth.conf")
    for address in ("10.77.0.1", "10.77.0.101", "10.77.0.102"):
        node.spawn(f"exec boothd daemon -S -D -c /run/booth/booth.conf -s {address} -l /run/booth/{address}.pid", log=f"/var/log/booth-{address}.log")
    def logs():
        return node.out("tail -n 15 /var/log/booth-*.log")
    report.check(wait_until(lambda: node.out("cat /var/log/booth-*.log").count("daemon started") == 3, 120, 1), "a site and two arbitrators start", logs())
    result = node.sh("booth grant -w -F -s 10.77.0.1 -c /run/booth/booth.conf ticketA", 60)
    report.check(wait_until(lambda: re.search(r"ticketA\s+granted", node.out("crm_ticket --info")), 120, 1), "a granted ticket is in the CIB", result.stdout + node.out("crm_ticket --info") + logs())
    result = node.sh("booth revoke -w -s 10.77.0.1 -c /run/booth/booth.conf ticketA", 60)
    report.check(wait_until(lambda: re.search(r"ticketA\s+revoked", node.out("crm_ticket --info")), 120, 1), "and a revoked one is not", result.stdout + node.out("crm_ticket --info") + logs())
    node.kill("boothd", signal.SIGTERM)


def around_a_cluster(report, node):
    """notifyd, sbd and booth on a cluster of one node."""
    node.sh(PRIVATE_DEV)
    node.spawn(LOG_SINK, node.tools, log="/var/log/syslog")
    node.start_corosync()
    node.sh("for i in $(seq 60); do corosync-quorumtool >/dev/null 2>&1 && exit; sleep 0.5; done", 40)
    node.spawn("exec corosync-notifyd -f -o", log="/var/log/notifyd.log")
    node.start_pacemaker()
    report.check(wait_until(lambda: node.dc() and s.online(node) == ["node1"], 120, 2), "the node elects a controller", node.out("crm_mon -1"))
    node.sh("crm_attribute -n stonith-enabled -v false")
    notifyd(report, node)
    sbd(report, node)
    booth(report, node)
    s.stop(report, [node])
    left = s.left_in_shm(node)
    print(f"     {report.context}: left in /dev/shm: {left}")
    report.check(not left or node.lib == "reference", "nothing is left in /dev/shm", left)

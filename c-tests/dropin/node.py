# SPDX-License-Identifier: LGPL-2.1-or-later
"""Nodes as process trees in network, mount, UTS, IPC and PID namespaces of their own, joined by a bridge.

Nothing here touches the machine's own network, daemons or state directories: the bridge lives in a network namespace
of its own without any way out, and every directory that the daemons write to is a tmpfs of the node.
"""
import os
import shlex
import signal
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DAEMONS = ["pacemaker-based", "pacemaker-fenced", "pacemaker-execd", "pacemaker-attrd", "pacemaker-schedulerd", "pacemaker-controld"]

COROSYNC_CONF = """
totem {{
    version: 2
    cluster_name: dropin
    transport: knet
    crypto_cipher: none
    crypto_hash: none
}}
logging {{
    to_stderr: no
    to_logfile: yes
    logfile: /var/log/corosync/corosync.log
    to_syslog: no
    debug: off
}}
quorum {{
    provider: corosync_votequorum
}}
nodelist {{
{nodes}
}}
"""


def corosync_conf(count):
    """The configuration of a ring of `count` nodes."""
    nodes = [f"    node {{\n        name: node{i}\n        nodeid: {i}\n        ring0_addr: 10.77.0.{i}\n    }}" for i in range(1, count + 1)]
    return COROSYNC_CONF.format(nodes="\n".join(nodes))


def start_tree(command):
    """Starts a namespace holder that dies with this process, waits for its `ready` line, returns it and its child's pid."""
    process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline().strip()
    if line != "ready":
        process.kill()
        process.wait()
        raise RuntimeError(f"namespaces cannot be set up here: {' '.join(command)}")
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as children:
        pids = children.read().split()
    return process, int(pids[0]) if pids else process.pid


class Switch:
    """The bridge that the nodes are plugged into."""

    def __init__(self):
        self.process, self.pid = start_tree(["unshare", "--net", "--fork", "--kill-child", "sh", "-c", "echo ready; exec sleep 100000"])
        self.ip("link add br0 type bridge")
        self.ip("link set br0 up")

    def ip(self, arguments):
        subprocess.run(["nsenter", "-t", str(self.pid), "-n", "ip", *arguments.split()], check=True)

    def plug(self, number, pid):
        """Gives the node whose first process is `pid` an interface on the bridge."""
        self.ip(f"link add veth{number} type veth peer name eth0 netns {pid}")
        self.ip(f"link set veth{number} master br0 up")

    def close(self):
        self.process.kill()
        self.process.wait()


class Node:
    """One host of the cluster. `lib` and `tools` tell what daemons and command-line tools load: `ours`, `reference`, or
    `installed` for whatever the loader finds without being told."""

    def __init__(self, number, switch, dirs, conf, lib, tools):
        self.name = f"node{number}"
        self.number, self.switch, self.dirs, self.conf = number, switch, dirs, conf
        self.lib, self.tools = lib, tools
        self.children = []
        self.boot()

    def boot(self):
        """Powers the node on, with empty state directories and no daemon."""
        self.process, self.pid = start_tree(
            ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc", os.path.join(HERE, "node-init"), self.name, self.dirs["ours"]])
        self.switch.plug(self.number, self.pid)
        self.sh(f"ip addr add 10.77.0.{self.number}/24 dev eth0; ip link set eth0 up")
        self.sh(f"cat > /etc/corosync/corosync.conf <<'END'\n{self.conf}\nEND\n")

    def power_off(self):
        """Takes everything away at once, as a power failure would."""
        self.process.kill()
        self.process.wait()
        for child in self.children:
            child.wait()
        self.children = []

    def library_dir(self, which):
        return "/run/qb/ours" if which == "ours" else self.dirs["reference"]

    def command(self, script, lib):
        # LIBQB_SEALED=0 runs a scenario on the wire of the C library throughout.
        knobs = [f"LIBQB_SEALED={os.environ['LIBQB_SEALED']}"] if "LIBQB_SEALED" in os.environ else []
        environment = [*([] if lib == "installed" else [f"LD_LIBRARY_PATH={self.library_dir(lib)}"]), *knobs, "PCMK_logfile=/var/log/pacemaker/pacemaker.log", "PCMK_logfacility=none", "LC_ALL=C", "HOME=/root",
                       "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-u", "-i", "-p", "env", "-i", *environment, "bash", "-c", script]

    def sh(self, script, seconds=30, lib=None):
        """Runs a script on the node with the tools' library, killed after `seconds`; returns the finished process."""
        bounded = f"exec timeout -k 2 {seconds} bash -c {shlex.quote(script)}"
        return subprocess.run(self.command(bounded, lib or self.tools), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", check=False, timeout=seconds + 20)

    def out(self, script, seconds=30):
        return self.sh(script, seconds).stdout

    def spawn(self, script, lib=None, log="/dev/null"):
        """Starts a script on the node in the background."""
        child = subprocess.Popen(self.command(f"exec >>{log} 2>&1; {script}", lib or self.lib), stdin=subprocess.DEVNULL)
        self.children.append(child)
        return child

    def start_corosync(self):
        self.spawn("exec corosync -f", log="/var/log/corosync/stderr.log")

    def start_pacemaker(self):
        """Starts Pacemaker; returns the time of the start on the monotonic clock."""
        started = time.monotonic()
        self.spawn("exec pacemakerd -f", log="/var/log/pacemaker/stderr.log")
        return started

    def pids(self, name):
        """Process ids, in the node's numbering, of the live processes whose executable has this name."""
        script = f'for d in /proc/[0-9]*; do e=$(readlink $d/exe) && [ "${{e##*/}}" = {name} ] && echo ${{d#/proc/}}; done; true'
        return self.out(script).split()

    def kill(self, name, number=signal.SIGKILL):
        """Sends a signal to the named daemon of this node; returns its pids."""
        pids = self.pids(name)
        if pids:
            self.sh(f"kill -{int(number)} {' '.join(pids)}")
        return pids

    def loaded(self):
        """Which libqb each daemon has mapped: `{name: path}`."""
        script = 'for d in /proc/[0-9]*; do e=$(readlink $d/exe) || continue; m=$(awk \'/libqb\\.so/{print $6}\' $d/maps 2>/dev/null | sort -u); [ -z "$m" ] || echo ${e##*/} $m; done'
        return dict(line.split(None, 1) for line in self.out(script).splitlines() if " " in line)

    def dc(self):
        """Name of the elected controller according to this node's own log and tools, or an empty string."""
        text = self.out("crm_mon -1 --output-as=text 2>&1", 20)
        for line in text.splitlines():
            if "Current DC:" in line and "NONE" not in line:
                return line.split("Current DC:")[1].split()[0]
        return ""

    def logs(self, lines=12):
        """The tails of this node's logs, for a failure report."""
        return self.out(f"for f in /var/log/corosync/* /var/log/pacemaker/*; do echo \"--- {self.name} $f\"; tail -n {lines} $f; done; "
                        "echo '--- processes'; ps -eo pid,user,stat,args | grep -E 'coro|pacem' | grep -v grep; ls -l /dev/shm")

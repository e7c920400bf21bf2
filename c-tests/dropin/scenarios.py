# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a running cluster is asked to do. Each function reports claims; each wait has a bound."""
import datetime
import re
import shlex
import signal
import time

from node import DAEMONS
from report import wait_until

RESOURCES = [f"d{i}" for i in range(1, 6)]
ALL_DAEMONS = ["corosync", "pacemakerd", *DAEMONS]

# Each tool with arguments, and a regular expression that its output must match.
TOOLS = [
    ("crm_mon -1", r"Online: \["),
    ("cibadmin -Q", r"</cib>"),
    ("crm_attribute -n stonith-enabled -q -G", r"^false"),
    ("attrd_updater -n probe -U 17 -d 0 && for i in $(seq 20); do attrd_updater -n probe -Q | grep 'value=\"17\"' && break; sleep 1; done", r'value="17"'),
    ("crm_resource -L", r"d1"),
    ("stonith_admin -L", r"0 fence devices found|No fence devices|^$"),
    ("crm_node -l", r"1 node1 member"),
    ("crmadmin -D", r"Designated Controller is"),
    ("crm_verify -L", r"^$"),
    ("corosync-cmapctl", r"nodelist\.node\.0\.name \(str\) = node1"),
    ("corosync-cfgtool -s", r"Local node ID 1"),
    ("corosync-quorumtool", r"Quorate:\s+Yes"),
    ("corosync-cpgtool", r"crmd"),
    ("corosync-blackbox | tail -n 50", r"^(trace|debug|info|notice|warning) +[A-Z][a-z][a-z] "),
    ("crm status", r"Online: \["),
]


def loads_what_it_should(report, node, names=None):
    """Every daemon has mapped the library it was started with; the tools would load theirs."""
    loaded = node.loaded()
    for name in names or ALL_DAEMONS:
        report.check(loaded.get(name, "").startswith(node.library_dir(node.lib) + "/"), f"{node.name}: {name} runs on {node.lib}", loaded)
    tools = ["crm_mon", "cibadmin", "crm_attribute", "attrd_updater", "crm_resource", "stonith_admin", "crm_node", "crmadmin", "crm_verify",
             "corosync-cmapctl", "corosync-cfgtool", "corosync-quorumtool", "corosync-cpgtool", "qb-blackbox"]
    text = node.out(f"for t in {' '.join(tools)}; do echo $t $(readlink -f $(LD_TRACE_LOADED_OBJECTS=1 $(command -v $t) | awk '/libqb\\.so/{{print $3}}')); done")
    wrong = [line for line in text.splitlines() if not line.split(None, 1)[1:] or not line.split()[1].startswith(node.library_dir(node.tools) + "/")]
    report.check(not wrong and len(text.splitlines()) == len(tools), f"{node.name}: the tools load {node.tools}", "\n".join(wrong))


def corosync_up(report, nodes, seconds=40):
    for node in nodes:
        node.start_corosync()
    count = len(nodes)
    def formed(node):
        text = node.out("corosync-quorumtool", 10)
        return re.search(r"Quorate:\s+Yes", text) and re.search(rf"Total votes:\s+{count}\b", text)
    for node in nodes:
        report.check(wait_until(lambda n=node: formed(n), seconds), f"{node.name}: corosync forms a ring of {count}", node.out("corosync-quorumtool", 10))


def online(node):
    """Names of the members that this node's tools call online."""
    found = re.search(r"Online: \[ ([^\]]*) \]", node.out("crm_mon -1 2>&1", 20))
    return sorted(found.group(1).split()) if found else []


def elected_in(node, started):
    """Seconds from `started` (wall clock) to the first election that this node's controller won, from its own log."""
    for line in node.out("grep -a 'S_ELECTION -> S_INTEGRATION' /var/log/pacemaker/pacemaker.log").splitlines():
        stamp = " ".join(line.split()[:3])
        when = datetime.datetime.strptime(f"{time.gmtime().tm_year} {stamp}", "%Y %b %d %H:%M:%S.%f").replace(tzinfo=datetime.timezone.utc)
        return when.timestamp() - started
    return None


def form(report, nodes, measure=False):
    """Corosync, then Pacemaker on all nodes; one controller; properties that suit a cluster without fencing."""
    corosync_up(report, nodes)
    started = time.time()
    for node in nodes:
        node.start_pacemaker()
    names = sorted(node.name for node in nodes)
    first = nodes[0]
    report.check(wait_until(lambda: first.dc() and online(first) == names, 120, 2), f"{len(nodes)} node(s) elect a controller and are online", first.out("crm_mon -1"))
    report.check(len({node.dc() for node in nodes}) == 1, "all nodes name the same controller", [node.dc() for node in nodes])
    if measure:
        took = elected_in(first, started)
        if report.check(took is not None, "the log tells when the controller was elected"):
            report.figure("pacemakerd -f to first controller", took, "s")
    result = first.sh("crm_attribute -n stonith-enabled -v false && crm_attribute -n dc-deadtime -v 5s && crm_attribute -n election-timeout -v 10s")
    report.check(result.returncode == 0, "cluster properties can be set", result.stdout)


def started_on(node):
    """`{resource: [nodes]}` of the Dummy resources that run somewhere."""
    found = {}
    for line in node.out("crm_mon -1 2>&1", 20).splitlines():
        match = re.search(r"\* (d\d)\s+\(ocf:+pacemaker:Dummy\):\s+Started (\S+)", line)
        if match:
            found.setdefault(match.group(1), []).append(match.group(2))
    return found


def all_started(node):
    where = started_on(node)
    return len(where) == len(RESOURCES) and all(len(nodes) == 1 for nodes in where.values()) and where


def resources(report, nodes):
    """Five Dummy resources, made with crmsh, start and move."""
    first = nodes[0]
    script = "; ".join(f"echo primitive {name} ocf:pacemaker:Dummy op monitor interval=10s timeout=20s" for name in RESOURCES)
    result = first.sh(f"( {script}; echo commit ) > /run/dummies; crm -F configure < /run/dummies", 90)
    report.check(wait_until(lambda: all_started(first), 120, 1), "five Dummy resources start", result.stdout + first.out("crm_mon -1"))
    if len(nodes) == 1:
        result = first.sh("crm_resource --ban -r d1 -N node1 2>&1")
        report.check(wait_until(lambda: "d1" not in started_on(first), 120, 1), "a banned resource stops", result.stdout)
        first.sh("crm_resource --clear -r d1")
        report.check(wait_until(lambda: all_started(first), 120, 1), "and starts again when cleared", first.out("crm_mon -1"))
        result = first.sh("crm resource restart d2", 60)
        report.check(result.returncode == 0 and wait_until(lambda: all_started(first), 120, 1), "crm resource restart", result.stdout)
        return
    for name in RESOURCES:
        here = started_on(first).get(name, ["?"])[0]
        target = next(node.name for node in nodes if node.name != here)
        result = first.sh(f"crm_resource --move -r {name} -N {target} 2>&1")
        report.check(wait_until(lambda n=name, t=target: started_on(first).get(n) == [t], 120, 1), f"{name} moves to another node", result.stdout)
        first.sh(f"crm_resource --clear -r {name}")
    report.check(wait_until(lambda: all_started(first), 120, 1), "all run after the moves", first.out("crm_mon -1"))


def tools_answer(report, node):
    for command, expected in TOOLS:
        result = node.sh(command, 40)
        report.check(result.returncode == 0 and re.search(expected, result.stdout, re.M), f"`{command}` answers", f"exit status {result.returncode}\n{result.stdout}")


def ipc_program(report, node, program, reads=3000):
    """The program written against Pacemaker's ipc.h, and the rate of CIB reads over one connection."""
    result = node.sh(program, 240)
    report.check(result.returncode == 0 and re.search(r"^[1-9]\d* passed, 0 failed", result.stdout, re.M), "crm/common/ipc.h works for another program", result.stdout)
    result = node.sh(f"{program} {reads}", 120)
    rate = re.search(r"^([0-9.]+)$", result.stdout, re.M)
    if report.check(result.returncode == 0 and rate, f"{reads} CIB reads over one connection", result.stdout):
        report.figure("CIB reads over one connection", float(rate.group(1)), "1/s")


def traffic(report, node, reads=500, writes=200):
    """CIB reads and writes one after the other, then from 16 clients at once; a large attribute."""
    def timed(script, claim, seconds):
        start = time.monotonic()
        result = node.sh(script, seconds)
        took = time.monotonic() - start
        return took if report.check(result.returncode == 0, claim, result.stdout) else None

    took = timed(f"for i in $(seq {reads}); do cibadmin -Q > /run/q || exit 1; grep -q '</cib>' /run/q || exit 1; done", f"{reads} CIB reads", 240)
    if took:
        report.figure("CIB reads by cibadmin", reads / took, "1/s")
    took = timed(f"for i in $(seq {writes}); do crm_attribute -t crm_config -n write-probe -v $i || exit 1; done; [ \"$(crm_attribute -n write-probe -q -G)\" = {writes} ]",
                 f"{writes} CIB writes, the last one read back", 240)
    if took:
        report.figure("CIB writes by crm_attribute", writes / took, "1/s")
    each_r, each_w = reads // 16 + 1, writes // 16 + 1
    script = f"""
    client() {{ for i in $(seq {each_r}); do cibadmin -Q >/run/q$1 && grep -q '</cib>' /run/q$1 || return 1; done
               for i in $(seq {each_w}); do crm_attribute -t crm_config -n probe-$1 -v $i || return 1; done; }}
    for c in $(seq 16); do client $c & jobs[c]=$!; done
    bad=0; for c in $(seq 16); do wait ${{jobs[c]}} || {{ bad=1; echo client $c failed; }}; done
    for c in $(seq 16); do [ "$(crm_attribute -n probe-$c -q -G)" = {each_w} ] || {{ bad=1; echo value of client $c lost; }}; done
    exit $bad"""
    took = timed(script, f"{16 * each_r} reads and {16 * each_w} writes by 16 clients at once", 300)
    if took:
        report.figure("16 clients, reads and writes", 16 * (each_r + each_w) / took, "1/s")
    result = node.sh("v=$(head -c 90000 /dev/zero | tr '\\0' x); crm_attribute -n big -v $v && [ \"$(crm_attribute -n big -q -G)\" = $v ] && [ $(cibadmin -Q | wc -c) -gt 90000 ] && "
                     "crm_attribute -n big -D")
    report.check(result.returncode == 0, "an attribute of 90 kB is written, read back, and goes with the whole CIB", result.stdout[-500:])


LOAD = "while :; do cibadmin -Q; attrd_updater -n load -U $RANDOM -d 0; crm_mon -1; crm_node -l; sleep 0.05; done"


def settled(node, victim, old):
    """Whether the victim has been replaced and the cluster is as before."""
    new = node.pids(victim)
    return new and not set(new) & set(old) and all(node.pids(name) for name in ALL_DAEMONS) and node.dc() and all_started(node)


def killed(report, node, victims):
    """Each daemon dies by SIGKILL while clients are busy, and everything comes back."""
    load = [node.spawn(LOAD, node.tools) for _ in range(3)]
    for victim in victims:
        time.sleep(1)
        old = node.kill(victim)
        if victim == "corosync":
            # Nothing restarts it here, so do what a service manager would: wait until the daemons have given up.
            gone = wait_until(lambda: not any(node.pids(name) for name in ["pacemakerd", "pacemaker-controld"]), 60, 1)
            if not gone:
                for name in ["pacemakerd", *DAEMONS]:
                    node.kill(name, signal.SIGKILL)
            node.start_corosync()
            wait_until(lambda: "Quorate:          Yes" in node.out("corosync-quorumtool", 10), 30)
            node.start_pacemaker()
        elif victim == "pacemakerd":
            # Its children live on; a new one takes them over.
            wait_until(lambda: not node.pids("pacemakerd"), 10)
            node.start_pacemaker()
        report.check(old and wait_until(lambda v=victim, o=old: settled(node, v, o), 120, 2), f"{victim} killed under load: all is well again", f"was {old}, is {node.pids(victim)}\n{node.out('crm_mon -1')}")
    for child in load:
        child.kill()
    node.sh(f"pkill -f {shlex.quote('attrd_updater -n load')}; true")


def stop(report, nodes):
    """Pacemaker and corosync end on SIGTERM, node after node: a controller whose peers all leave in the middle of a
    transition waits for them, whichever library it runs on."""
    nodes[0].sh("crm_resource --wait --timeout=60s", 70)
    for node in nodes:
        node.kill("pacemakerd", signal.SIGTERM)
        if not report.check(wait_until(lambda n=node: not any(n.pids(name) for name in ["pacemakerd", *DAEMONS]), 120, 1), f"{node.name}: Pacemaker stops cleanly", node.out("ps ax")):
            print(node.out("for p in $(pgrep -f /usr/lib/pacemaker/); do echo \"--- $(tr '\\0' ' ' </proc/$p/cmdline)\"; gdb -q -batch -p $p -ex bt 2>/dev/null | grep '^#'; done", 60), flush=True)
        node.kill("corosync", signal.SIGTERM)
        report.check(wait_until(lambda n=node: not n.pids("corosync"), 120, 1), f"{node.name}: corosync stops cleanly", node.out("ps ax"))


def left_in_shm(node):
    """Names in the node's /dev/shm with their process ids taken out."""
    return sorted(node.out("ls /dev/shm").split())


def crashes(report, node):
    """No daemon wrote that a child died by a fault, and none left a core."""
    text = node.out("grep -aE 'core dumped|terminated with signal (4|6|7|8|11)|Assertion|panicked|triggered assert' -r /var/log; find /var/lib/pacemaker/cores /var/lib/corosync -type f -name 'core*'")
    for core in [line for line in text.splitlines() if line.startswith("/var/lib/") and "core" in line.rsplit("/", 1)[-1]]:
        name = re.search(r"execfn: '([^']+)'", node.out(f"file -P elf_phnum=9999 {core}"))
        program = name.group(1) if name else "unknown"
        text += node.out(f"f={core}; command -v gdb >/dev/null && gdb -q -batch -ex bt -ex 'info proc' {program} $f 2>&1 | tail -n 40", 60)
    report.check(not text.strip(), f"{node.name}: no crash, assertion or panic in the logs", text)

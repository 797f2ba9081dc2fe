#!/usr/bin/env python3
"""testbed: run a command on a throw-away Debian host (systemd, cgroup v2, AppArmor, unprivileged user).

  testbed build                          make the kernel and the root image (once; kept in $TESTBED_CACHE)
  testbed kernel                         build a fuller kernel (once; over ten minutes of CPU time), which is
                                         used from then on: two CPUs, cpuset, PSI, Landlock, BFQ, nftables with NAT
  testbed run [options] -- COMMAND...    boot, run COMMAND, power off; exit with its code
  testbed fsck FILE                      check and repair a data disk after a crash

In the guest: /host is --ro DIR, /out is copied back into --rw DIR, /data is the disk --data FILE.
The kernel is User Mode Linux by default: a plain process, so it needs neither KVM nor privileges,
and CPU work runs at native speed. --vm qemu boots Debian's stock cloud kernel instead: fast with
KVM, very slow without. TESTBED_PACKAGES names more Debian packages for the root image.
"""

import argparse
import glob
import hashlib
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time


def apt_mirror():
    """The Debian mirror that this machine's apt is set up with."""
    for f in sorted(glob.glob("/etc/apt/sources.list.d/*.sources")) + ["/etc/apt/sources.list"]:
        m = os.path.exists(f) and re.search(r"^(?:URIs:|deb(?:\s+\[[^]]*\])?)\s+(\S+)", open(f).read(), re.M)
        if m and "security" not in m[1]:
            return m[1]
    sys.exit("testbed: apt has no mirror configured; set TESTBED_MIRROR")


HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = "linux-source-7.2"
SUITE, MIRROR = "trixie", os.environ.get("TESTBED_MIRROR") or apt_mirror()
CACHE = os.environ.get("TESTBED_CACHE", "/var/cache/testbed")
PACKAGES = """systemd-sysv libpam-systemd dbus dbus-user-session udev kmod procps e2fsprogs uidmap slirp4netns
 passt nftables iptables ufw iproute2 iputils-ping busybox-static python3-minimal fuse3 xfsprogs apparmor strace ca-certificates
 xz-utils bzip2 docker-cli docker-registry
 """.split() + os.environ.get("TESTBED_PACKAGES", "").split()

SETUP = r"""set -eu   # runs on the build host; $1 is the new root
R=$1; mkdir -p $R/k/x $R/host $R/out $R/data $R/var/lib/systemd/linger $R/usr/lib/modules; chmod 1777 $R/out
chroot $R sh -eu -c 'cd /k; useradd -m -s /bin/bash -u 1000 user
  apt-get -qq -o APT::Sandbox::User=root download $(apt-cache depends linux-image-cloud-amd64 | sed -n "s/ *Depends: //p")
  for d in *.deb; do dpkg-deb -x $d x; done'
mv $R/k/x/boot/vmlinuz-* $R/boot/vmlinuz; cp -r $R/k/x/usr/lib/modules/* $UML/modules/* $R/usr/lib/modules/; rm -r $R/k
for k in $R/usr/lib/modules/*; do chroot $R depmod ${k##*/}; done
cd $R/etc; echo testbed > hostname; echo '127.0.0.1 localhost testbed' > hosts; rm -f resolv.conf; echo 'nameserver 192.0.2.53' > resolv.conf
echo user:100000:65536 > subuid; cp subuid subgid; : > $R/var/lib/systemd/linger/user
rm -rf systemd/system/*.target.wants/*   # no timers, no getty; start docker and the like by hand
mkdir -p systemd/system/user@.service.d systemd/system/multi-user.target.wants
printf '[Service]\nDelegate=cpu cpuset io memory pids\n' > systemd/system/user@.service.d/delegate.conf
# keep the profiles of tools that a container engine meets; a hundred of desktop programs only slow the boot
(cd apparmor.d; ls -p | grep -v / | grep -Ev 'passt|pasta|slirp|runc|crun|podman|buildah|rootlesskit|busybox' | xargs rm -f)
cat > systemd/system/testbed.service <<'E'
[Unit]
Wants=user@1000.service apparmor.service
After=user@1000.service dbus.service systemd-logind.service apparmor.service
[Service]
Type=oneshot
ExecStart=/testbed-job
StandardError=tty
TTYPath=/dev/console
E
ln -s ../testbed.service systemd/system/multi-user.target.wants/
cat > $R/testbed-job <<'E'
#!/bin/bash
# Guest side of testbed. The exchange disk brings a tar with the job, and takes back its exit code and /out.
if [ -b /dev/ubda ]; then x=/dev/ubdb h=/dev/ubdc d=/dev/ubdd o=/dev/ttyS0 e=/dev/ttyS1; stty -F $o raw; stty -F $e raw
else modprobe virtio_blk; udevadm settle; x=/dev/vda h=/dev/vdb d=/dev/vdc o=/dev/virtio-ports/out e=/dev/virtio-ports/err; fi
mkdir /run/testbed; cd /run/testbed; tar -xf $x; chmod 755 .; . ./env; mount -o ro $h /host
[ "$DATA" = 1 ] && mount -o errors=remount-ro $d /data && chmod 1777 /data
# A host has an address and a way out; who is there is nobody.
ip link add out0 type dummy && ip addr add 198.51.100.2/24 dev out0 && ip link set out0 up && ip route add default via 198.51.100.1
[ -z "$NET" ] || { n=$(ls -d /sys/class/net/[ev]*); n=${n##*/}; ip addr add $NET dev $n; ip link set $n up; }
mkfifo out err; cat <out >$o & c1=$!; cat <err >$e & c2=$!
echo "testbed: start" >/dev/console
runuser -l "$WHO" -c "exec /bin/sh /run/testbed/job" </dev/null >out 2>err
echo $? >status
(sleep 2; kill $c1 $c2) 2>/dev/null & wait $c1 $c2 2>/dev/null   # do not wait for daemons the job left behind
[ -b /dev/ubda ] && stty -F $o raw && stty -F $e raw             # drains the lines
tar -cf $x status -C / out; umount /data 2>/dev/null; sync
exec systemctl poweroff -ff
E
chmod 755 $R/testbed-job; systemd-machine-id-setup --root=$R || echo 0123456789abcdef0123456789abcdef > machine-id
rm -rf $R/var/lib/apt/lists/* $R/var/cache/apt/*.bin; touch $R/etc/.updated $R/var/.updated
"""


def sh(command, **options):
    subprocess.run(command, shell=isinstance(command, str), check=True, stdin=subprocess.DEVNULL, **options)


def need(*programs):
    """Install the packages of those programs that are missing; program=package where the names differ."""
    missing = [p.split("=")[-1] for p in programs if not shutil.which(p.split("=")[0])]
    for verb in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *missing]) if missing else ():
        sh(["apt-get", *verb], stdout=sys.stderr, env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))


def sparse(path, mib, *mke2fs):
    """Make a file of that size, with a file system if arguments of mke2fs are given."""
    with open(path, "wb") as f:
        f.truncate(mib << 20)
    if mke2fs:
        sh(["mke2fs", "-q", "-F", "-t", "ext4", *mke2fs, path])


def cache_path(name, key):
    return f"{CACHE}/{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def full_kernel():
    """What the fuller kernel is kept under."""
    with open(f"{HERE}/kernel.config") as f:
        return "full", SOURCE + f.read()


def cached(name, key, make):
    """The directory that make(tmp, directory) fills, made once for each key."""
    path = cache_path(name, key)
    if not os.path.exists(path):
        print(f"testbed: making {path}", file=sys.stderr)
        os.makedirs(CACHE, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
            os.chmod(tmp, 0o755)
            os.mkdir(f"{tmp}/done")
            make(tmp, f"{tmp}/done")
            try:
                os.rename(f"{tmp}/done", path)
            except OSError:  # another run made it meanwhile
                if not os.path.isdir(path):
                    raise
    return path


def download(tmp, suite, packages):
    """Download packages of another suite of Debian's into tmp, without touching how this machine's apt is set up."""
    with open(f"{tmp}/list", "w") as f:
        f.write(f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {MIRROR} {suite} main\n")
    apt = (f"apt-get -qq -o Dir::Etc::SourceList={tmp}/list -o Dir::Etc::SourceParts=- -o Dir::State::Lists={tmp}/lists "
           "-o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false")
    sh(f"set -e; cd {tmp}; mkdir -p lists/partial; {apt} update; {apt} download {packages}", stdout=sys.stderr)


def make_full_kernel(tmp, done):
    """User Mode Linux from Debian's newest sources, with kernel.config."""
    need("gcc", "make", "flex", "bison", "bc", "xz=xz-utils", "strip=binutils")
    download(tmp, SUITE + "-backports", SOURCE)
    sh(f"""set -e; cd {tmp}; mkdir src
        dpkg-deb --fsys-tarfile ./*.deb | tar -xO ./usr/src/{SOURCE}.tar.xz | tar -xJ --strip-components=1 -C src \\
            --exclude='*.rst' --exclude='*.dts*' --exclude='*.yaml' --exclude='*/tools/testing/*' --exclude='*/amd/include/*'
        cd src; cp {HERE}/kernel.config .config; make ARCH=um olddefconfig; make ARCH=um -j"$(nproc)" linux
        mods={done}/modules/$(make -s ARCH=um kernelrelease); mkdir -p "$mods"
        strip -o {done}/linux linux; cp modules.builtin modules.builtin.modinfo "$mods"; touch "$mods/modules.order"
        """, stdout=sys.stderr)


def make_kernel(tmp, done):
    """User Mode Linux from sid, for its seccomp mode: several times faster than the ptrace mode before Linux 6.16."""
    need("strip=binutils")
    download(tmp, "sid", "user-mode-linux libc6")
    # it wants a newer libc than this host may have, so it gets its own, found from its working directory
    sh(f"""set -e; cd {tmp}; for d in *.deb; do dpkg-deb -x $d .; done
        sed 's#/lib64/ld-linux-x86-64\\.so\\.2#.//lib/ld-linux-x86-64.so.2#' usr/bin/linux.uml >{done}/linux; chmod 755 {done}/linux
        find usr/lib/uml/modules -name '*.ko' -exec strip -g {{}} +; mv usr/lib/uml/modules {done}/; mkdir {done}/lib
        cp usr/lib/x86_64-linux-gnu/libc.so.6 usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 {done}/lib""", stdout=sys.stderr)


def make_root(tmp, done):
    need("mmdebstrap", "mke2fs=e2fsprogs")
    with open(f"{tmp}/setup", "w") as f:
        f.write(SETUP)
    # in a mount namespace of its own: a killed mmdebstrap must not leave /dev mounts where the clean-up walks
    sh([*(["unshare", "--mount", "--propagation=private"] if os.geteuid() == 0 else []), "mmdebstrap", "--quiet", "--variant=minbase", "--aptopt=APT::Install-Recommends false",
        "--aptopt=Acquire::Languages none", *(f"--dpkgopt=path-exclude=/usr/share/{d}/*" for d in ("doc", "man", "locale")),
        "--include=" + ",".join(PACKAGES), f"--customize-hook=sh {tmp}/setup \"$1\"", SUITE, f"{tmp}/root", MIRROR],
       stdout=sys.stderr, env=dict(os.environ, UML=kernel()))
    os.rename(f"{tmp}/root/boot/vmlinuz", f"{done}/vmlinuz")
    sparse(f"{done}/root.img", 8192, "-L", "root", "-d", f"{tmp}/root")


def kernel():
    """A directory with linux and modules/: what TESTBED_UML names, the fuller one if it was built, or Debian's User Mode Linux."""
    full = cache_path(*full_kernel())
    return os.environ.get("TESTBED_UML") or (full if os.path.exists(full) else cached("uml", MIRROR, make_kernel))


def uml(root, tmp, args, fds, disks, boot):
    command = ["./linux", f"mem={args.mem}M", f"ncpus={args.cpus}", "seccomp=on", "lsm=landlock,yama,apparmor,bpf", "noreboot", f"uml_dir={tmp}",
               "root=/dev/ubda", f"ubd0={tmp}/root.cow,{root}/root.img", "con=null", f"con0=null,fd:{fds['log']}",
               f"ssl0=null,fd:{fds['out']}", f"ssl1=null,fd:{fds['err']}", *boot.split()]
    command += [f"ubd{n}{'r' if readonly else ''}={path}" for n, (path, readonly) in enumerate(disks, 1)]
    if args.net:  # Ethernet in L2TPv3 in UDP on the loopback interface
        command.append("vec0:transport=l2tpv3,udp=1,src=127.0.0.1,dst=127.0.0.1,rx_session=0x7e57,tx_session=0x7e57,"
                       f"srcport={17700 + args.net},dstport={17703 - args.net},mac=52:54:00:00:00:0{args.net}")
    return command


def qemu(root, tmp, args, fds, disks, boot):
    need("qemu-system-x86_64=qemu-system-x86")
    if os.access("/dev/kvm", os.W_OK) and {"vmx", "svm"} & set(open("/proc/cpuinfo").read().split()):
        speed = ["-accel", "kvm", "-cpu", "host"]
    else:  # without cx16: emulating cmpxchg16b is slow, and wrong in qemu 7.2
        speed = ["-accel", "tcg,thread=multi", "-cpu", "Westmere,-cx16,+rdrand"]
    command = ["qemu-system-x86_64", "-M", "q35", *speed, "-smp", str(args.cpus), "-m", str(args.mem), "-nodefaults",
               "-display", "none", "-no-reboot", "-kernel", f"{root}/vmlinuz",  # its NVMe driver is built in: no initrd
               "-append", "root=/dev/nvme0n1 rootwait net.ifnames=0 mitigations=off console=ttyS0 " + boot,
               "-drive", f"file={root}/root.img,if=none,id=root,format=raw,snapshot=on,cache=unsafe",
               "-device", "nvme,drive=root,serial=root", "-device", "virtio-rng-pci", "-device", "virtio-serial-pci"]
    for name, fd in fds.items():
        command += ["-chardev", f"file,id={name},path=/dev/fd/{fd}"]
    for n, (path, readonly) in enumerate(disks):
        command += ["-drive", f"file={path},if=none,id=d{n},format=raw,readonly={'on' if readonly else 'off'}",
                    "-device", f"virtio-blk-pci,drive=d{n}"]
    return command + ["-serial", "chardev:log", "-device", "virtserialport,chardev=out,name=out",
                      "-device", "virtserialport,chardev=err,name=err"]


def run(args, tmp):
    root = cached(SUITE, "\n".join([kernel().removeprefix(CACHE), SUITE, SETUP, *PACKAGES]), make_root)  # the cache may move
    sparse(f"{tmp}/exchange", 4096)
    with open(f"{tmp}/exchange", "r+b") as f, tarfile.open(fileobj=f, mode="w") as tar:
        net = f"10.77.0.{args.net}/24" if args.net else ""
        for name, text in (("job", shlex.join(args.command)),
                           ("env", f"WHO={'user' if args.user else 'root'} DATA={int(bool(args.data))} NET={net}")):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()) + 1, 0o644
            tar.addfile(info, io.BytesIO(text.encode() + b"\n"))
    used = int(subprocess.check_output(["du", "-sm", args.ro]).split()[0]) if args.ro else 0
    sparse(f"{tmp}/host", used * 5 // 4 + 16, "-O", "^has_journal", *(["-d", args.ro] if args.ro else []))
    disks = [(f"{tmp}/exchange", False), (f"{tmp}/host", True)]
    if args.data:
        if not os.path.exists(args.data):
            sparse(args.data, 4096, "-L", "data")
        disks.append((os.path.abspath(args.data), False))
    pipes = {name: os.pipe() for name in ("log", "out", "err")}
    fds = {name: w for name, (r, w) in pipes.items()}
    command = (uml if args.vm == "uml" else qemu)(root, tmp, args, fds, disks, "rw panic=-1 quiet systemd.show_status=0 "
                                                  f"systemd.hostname=host{args.net or 1} {args.append}")
    started, state = time.monotonic(), {}
    vm = subprocess.Popen(command, cwd=kernel(), pass_fds=list(fds.values()), start_new_session=True,
                          env=dict(os.environ, TMPDIR="/dev/shm", **({"LD_LIBRARY_PATH": "lib"} if args.vm == "uml" else {})),
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def kill(code):
        state["killed"] = code
        os.killpg(vm.pid, signal.SIGKILL)

    def pump(source, sink):
        while data := os.read(source, 65536):
            sink.write(data)
            sink.flush()
            if sink is not log and args.crash_on and args.crash_on.encode() in data:
                threading.Timer(args.crash_delay, kill, [137]).start() if args.crash_delay else kill(137)
            if sink is log and b"testbed: start" in data:
                state["booted"] = time.monotonic() - started
                if args.crash_after is not None:
                    threading.Timer(args.crash_after, kill, [137]).start()

    log = open(args.log or os.devnull, "wb")
    threads = [threading.Thread(target=pump, args=[pipes[name][0], sink], daemon=True)
               for name, sink in (("log", log), ("out", sys.stdout.buffer), ("err", sys.stderr.buffer))]
    for fd in fds.values():
        os.close(fd)
    for thread in threads:
        thread.start()
    try:
        vm.wait(args.timeout)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        kill(124)
        vm.wait()
    for thread in threads:
        thread.join(5)
    if args.verbose:
        print(f"testbed: booted in {state.get('booted', -1):.1f} s, all in {time.monotonic() - started:.1f} s", file=sys.stderr)
    if "killed" in state:
        return state["killed"]
    with open(f"{tmp}/exchange", "rb") as f, tarfile.open(fileobj=f) as tar:
        if "status" not in tar.getnames():
            sys.exit("testbed: the guest stopped before the command ended; see --log")
        if args.rw:
            tar.extractall(args.rw, [m for m in tar.getmembers() if m.name.startswith("out/")])
        return int(tar.extractfile("status").read())


def main():
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("build")
    verbs.add_parser("kernel")
    verbs.add_parser("fsck").add_argument("file")
    option = verbs.add_parser("run").add_argument
    option("--vm", choices=("uml", "qemu"), default="uml")
    option("--user", action="store_true", help="run as the unprivileged user, in a login session")
    option("--ro", metavar="DIR", help="directory to show at /host")
    option("--rw", metavar="DIR", help="where to put what the command left in /out")
    option("--data", metavar="FILE", help="persistent disk, mounted at /data; made if missing")
    option("--crash-after", type=float, metavar="S", help="kill the machine S seconds into the command: exit 137")
    option("--crash-on", metavar="TEXT", help="kill the machine when the command prints TEXT: exit 137")
    option("--crash-delay", type=float, default=0, metavar="S", help="seconds between that and the kill")
    option("--timeout", type=float, default=600, metavar="S", help="give up S seconds after power-on: exit 124")
    option("--net", type=int, choices=(1, 2), help="be machine 1 or 2 (10.77.0.N) on a network of two (uml only)")
    option("--mem", type=int, default=2048, metavar="MIB")
    option("--cpus", type=int, default=2)
    option("--append", default="", help="more kernel command line")
    option("--log", metavar="FILE", help="keep the console output")
    option("--verbose", action="store_true")
    option("command", nargs="+")
    args = parser.parse_args()
    if args.verb == "fsck":
        return subprocess.run(["e2fsck", "-fy", args.file]).returncode
    if args.verb == "kernel":
        return print(cached(*full_kernel(), make_full_kernel))
    if args.verb == "build":
        args = parser.parse_args(["run", "--", "true"])
    with tempfile.TemporaryDirectory(prefix="testbed-") as tmp:
        return run(args, tmp)


if __name__ == "__main__":
    sys.exit(main())

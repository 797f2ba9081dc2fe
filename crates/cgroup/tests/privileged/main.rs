//! Cgroups of the running kernel, on every layout that this host can be made to show.
//!
//! Each test runs once per layout, in a thread with a mount namespace of its own: as the host is, with
//! the v2 hierarchy taken away, and with nothing but the v2 hierarchy. Needs root.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod layouts;

use std::fs::read_to_string;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cgroup::{
    Ability, Access, Cgroup, CgroupError, Controller, Cpu, DeviceKind, DeviceRule, DeviceRules,
    Effect, HugePages, Io, LimitError, Limits, Max, Memory, Rdma, Removed, Settled, Version, View,
};
use layouts::{Host, on_each_layout};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sys::process::{Child, CloneArgs, ExecStrings, Exit, clone3, execve, wait};
use sys::signal::Signal;

/// Starts a process that enters a cgroup and then runs `body`, which must not allocate.
fn start_in(cgroup: &Cgroup, body: impl FnOnce() -> i32) -> Child {
    start_in_part(cgroup, cgroup, body)
}

/// The same in a part of a cgroup.
fn start_in_part(whole: &Cgroup, part: &Cgroup, body: impl FnOnce() -> i32) -> Child {
    let entry = whole.entry_of(part).unwrap();
    let cgroup = part.clone_into().or(whole.clone_into());
    let args = CloneArgs { cgroup, ..CloneArgs::default() };
    clone3(&args, || match entry.enter() {
        Ok(()) => body(),
        Err(_) => 99,
    })
    .unwrap()
}

/// For how long something is waited for that comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// A process that waits to be killed. Returns when it is in the cgroup.
fn idle_in(cgroup: &Cgroup) -> Child {
    idle_in_part(cgroup, cgroup)
}

/// The same in a part of a cgroup.
fn idle_in_part(whole: &Cgroup, part: &Cgroup) -> Child {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let child = start_in_part(whole, part, || {
        let _ = rustix::io::write(&writer, b"x");
        loop {
            let _ = poll(&mut [], None);
        }
    });
    drop(writer);
    assert_eq!(rustix::io::read(&reader, &mut [0; 1][..]), Ok(1));
    child
}

/// Starts a process that only waits; for use in children, which must not allocate.
fn start_idle() -> Result<(), Errno> {
    let idle = clone3(&CloneArgs::default(), || {
        let _ = poll(&mut [], None);
        0
    })?;
    // Its descriptor goes with this process.
    std::mem::forget(idle);
    Ok(())
}

fn has(host: &Host, controller: Controller) -> bool {
    home(host, controller).is_some()
}

/// Which version a controller is on, if on any.
fn home(host: &Host, controller: Controller) -> Option<Version> {
    let on_v1 =
        host.hierarchies.legacy().iter().any(|legacy| legacy.controllers.contains(&controller));
    if on_v1 {
        Some(Version::V1)
    } else {
        on_v2(host, controller.name(Version::V2)).then_some(Version::V2)
    }
}

/// Whether v2 has a controller.
fn on_v2(host: &Host, controller: &str) -> bool {
    host.hierarchies.unified().is_some_and(|unified| {
        let listed = read_to_string(unified.mount.join("cgroup.controllers")).unwrap();
        listed.split_whitespace().any(|name| name == controller)
    })
}

fn content(cgroup: &Cgroup, controller: &str, file: &str) -> String {
    let view = cgroup.views().find(|view| view.options == controller).unwrap();
    read_to_string(view.mount.join(view.path).join(file)).unwrap().trim().to_owned()
}

fn directories(cgroup: &Cgroup) -> Vec<PathBuf> {
    cgroup.views().map(|view| view.mount.join(view.path)).collect()
}

fn is_readable(fd: &OwnedFd, milliseconds: i64) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let timeout = Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
    poll(&mut fds, Some(&timeout)).unwrap() == 1
}

#[test]
fn a_cgroup_is_in_every_hierarchy_and_leaves_none() {
    on_each_layout(|host| {
        let cgroup = host.create("one", &Limits::default());
        for directory in directories(&cgroup) {
            assert!(directory.is_dir(), "{}", directory.display());
        }
        assert_eq!(Cgroup::list(&host.hierarchies, &host.parent).unwrap(), ["one"]);
        cgroup.remove().unwrap();
        for directory in directories(&cgroup) {
            assert!(!directory.exists(), "{}", directory.display());
        }
        assert!(Cgroup::list(&host.hierarchies, &host.parent).unwrap().is_empty());
        // Twice is no error.
        cgroup.remove().unwrap();
        let error = Cgroup::open(&host.hierarchies, &host.parent, "one").unwrap_err();
        assert!(matches!(error, CgroupError::NotFound(_)), "{error}");
    });
}

#[test]
fn a_process_enters_every_hierarchy_at_once() {
    on_each_layout(|host| {
        let cgroup = host.create("one", &Limits::default());
        let child = idle_in(&cgroup);
        assert_eq!(cgroup.pids().unwrap(), [child.pid]);
        let lines = read_to_string(format!("/proc/{}/cgroup", child.pid.as_raw_nonzero())).unwrap();
        let expected = format!("/{}/one", host.parent);
        for view in cgroup.views() {
            let found = lines.lines().find(|line| line.split(':').nth(1) == Some(view.options));
            assert!(found.unwrap().ends_with(&expected), "{found:?}");
        }
        cgroup.kill().unwrap();
        assert_eq!(wait(&child.pidfd), Ok(Exit::Signal(Signal::KILL)));
        assert!(cgroup.pids().unwrap().is_empty());
    });
}

#[test]
fn a_process_that_runs_already_can_be_added() {
    on_each_layout(|host| {
        let one = host.create("one", &Limits::default());
        let two = host.create("two", &Limits::default());
        let child = idle_in(&one);
        two.add(child.pid).unwrap();
        assert!(one.pids().unwrap().is_empty());
        assert_eq!(two.pids().unwrap(), [child.pid]);
        two.kill().unwrap();
        wait(&child.pidfd).unwrap();
    });
}

#[test]
fn names_that_are_taken_or_odd_are_refused_and_nothing_is_made() {
    on_each_layout(|host| {
        let cgroup = host.create("one", &Limits::default());
        let error = host.try_create("one", &Limits::default()).unwrap_err();
        assert!(matches!(error, CgroupError::Exists(_)), "{error}");
        assert!(directories(&cgroup).iter().all(|directory| directory.is_dir()));
        let error = host.try_create("../one", &Limits::default()).unwrap_err();
        assert!(matches!(error, CgroupError::Name(_)), "{error}");
    });
}

#[test]
fn what_cannot_be_limited_is_an_error_and_nothing_is_made() {
    on_each_layout(|host| {
        let rdma = Rdma { device: "mlx5_0".into(), handles: Some(1), objects: None };
        let limits = Limits { rdma: vec![rdma], ..Limits::default() };
        let error = host.try_create("one", &limits).unwrap_err();
        let missing = matches!(
            error,
            CgroupError::Limit(LimitError::NoController { controller: "rdma", .. })
        );
        assert!(missing, "{error}");
        assert!(Cgroup::list(&host.hierarchies, &host.parent).unwrap().is_empty());
    });
}

/// What a cgroup with this ability alone is limited to.
fn only(ability: Ability) -> Limits {
    let at = Some(Max::At(64 << 20));
    let memory = |memory| Limits { memory, ..Limits::default() };
    let cpu = |cpu| Limits { cpu, ..Limits::default() };
    match ability {
        Ability::Memory => memory(Memory { limit: at, ..Memory::default() }),
        Ability::Swap => memory(Memory { limit: at, with_swap: at, ..Memory::default() }),
        Ability::Reservation => memory(Memory { reservation: at, ..Memory::default() }),
        Ability::Swappiness => memory(Memory { swappiness: Some(5), ..Memory::default() }),
        Ability::OomKillDisable => memory(Memory { disable_oom_killer: true, ..Memory::default() }),
        Ability::Pids => Limits { pids: Some(Max::At(5)), ..Limits::default() },
        Ability::CpuShares => cpu(Cpu { shares: Some(5), ..Cpu::default() }),
        Ability::CpuQuota => cpu(Cpu::from_nano_cpus(500_000_000)),
        Ability::CpuRealtime => cpu(Cpu { realtime_runtime: Some(700), ..Cpu::default() }),
        Ability::Cpuset => cpu(Cpu { cpus: Some("0".to_owned()), ..Cpu::default() }),
        Ability::IoWeight
        | Ability::IoDeviceWeight
        | Ability::ReadBytes
        | Ability::WriteBytes
        | Ability::ReadOperations
        | Ability::WriteOperations => {
            Limits { io: Io { weight: Some(50), ..Io::default() }, ..Limits::default() }
        }
    }
}

#[test]
fn what_a_host_says_it_can_limit_it_can() {
    on_each_layout(|host| {
        let mut can = 0;
        for ability in [
            Ability::Memory,
            Ability::Swap,
            Ability::Reservation,
            Ability::Swappiness,
            Ability::OomKillDisable,
            Ability::Pids,
            Ability::CpuShares,
            Ability::CpuQuota,
            Ability::CpuRealtime,
            Ability::Cpuset,
            Ability::IoWeight,
        ] {
            let made = host.try_create(&format!("{ability:?}"), &only(ability));
            assert_eq!(host.hierarchies.can(ability), made.is_ok(), "{ability:?}: {made:?}");
            can += usize::from(made.is_ok());
        }
        let memory = has(host, Controller::Memory);
        assert_eq!(host.hierarchies.can(Ability::Memory), memory);
        assert!(can > 0 || !memory);
    });
}

fn realtime(runtime: i64) -> Limits {
    let cpu = Cpu { realtime_runtime: Some(runtime), ..Cpu::default() };
    Limits { cpu, ..Limits::default() }
}

/// Where it stands how much the parent of this host's cgroups has.
fn lent_file(host: &Host, cgroup: &Cgroup) -> PathBuf {
    let mut views = cgroup.views();
    let view = views.find(|view| view.options.split(',').any(|it| it == "cpu")).unwrap();
    view.mount.join(&host.parent).join("cpu.rt_runtime_us")
}

#[test]
fn realtime_is_lent_to_the_cgroups_above() {
    on_each_layout(|host| {
        if !host.hierarchies.can(Ability::CpuRealtime) {
            return;
        }
        let one = host.create("one", &realtime(300));
        let two = host.create("two", &realtime(400));
        let parent = lent_file(host, &one);
        assert_eq!(read_to_string(&parent).unwrap().trim(), "700");
        // Its own share is not counted twice.
        two.update(&realtime(500)).unwrap();
        assert_eq!(read_to_string(&parent).unwrap().trim(), "800");
        // The period alone: five times the share.
        let period = |realtime_period| Limits {
            cpu: Cpu { realtime_period: Some(realtime_period), ..Cpu::default() },
            ..Limits::default()
        };
        two.update(&period(200_000)).unwrap();
        assert_eq!(read_to_string(&parent).unwrap().trim(), "2800");
        // The time alone, of that period.
        two.update(&realtime(600)).unwrap();
        assert_eq!(read_to_string(&parent).unwrap().trim(), "3300");
        // Both, where the one that was is more than the other that will be.
        let mut both = period(500);
        both.cpu.realtime_runtime = Some(100);
        two.update(&both).unwrap();
    });
}

#[test]
fn what_was_lent_for_a_change_that_is_refused_is_taken_back() {
    on_each_layout(|host| {
        let is_there = home(host, Controller::Cpuset) == Some(Version::V1);
        if !host.hierarchies.can(Ability::CpuRealtime) || !is_there {
            return;
        }
        let one = host.create("one", &realtime(300));
        let parent = lent_file(host, &one);
        let above = parent.parent().unwrap().parent().unwrap().join("cpu.rt_runtime_us");
        let lent = || [&parent, &above].map(|file| read_to_string(file).unwrap());
        let before = lent();
        assert_eq!(before[0], "300\n");
        let mut refused = realtime(900);
        // There is no such node.
        refused.cpu.mems = Some("4000".into());
        one.update(&refused).unwrap_err();
        assert_eq!(lent(), before);
        host.try_create("two", &refused).unwrap_err();
        assert_eq!(lent(), before);
        // What is put back is not taken from who has borrowed of it meanwhile.
        let was = one.update(&realtime(800)).unwrap();
        let two = host.create("two", &realtime(200));
        assert_eq!(lent()[0], "1000\n");
        one.put_back(was);
        assert_eq!(lent()[0], "500\n");
        two.update(&realtime(100)).unwrap();
        assert_eq!(lent()[0], "500\n");
    });
}

#[test]
fn who_borrow_at_the_same_time_all_get_what_they_want() {
    on_each_layout(|host| {
        if !host.hierarchies.can(Ability::CpuRealtime) {
            return;
        }
        let names = ["one", "two", "three", "four"];
        let groups = names.map(|name| host.create(name, &Limits::default()));
        let parent = lent_file(host, &groups[0]);
        for round in 1..=20 {
            let borrow = |group: &Cgroup| group.update(&realtime(round * 100)).unwrap();
            std::thread::scope(|scope| {
                let _ = groups.each_ref().map(|group| scope.spawn(move || borrow(group)));
            });
            let lent = read_to_string(&parent).unwrap();
            assert_eq!(lent.trim(), (round * 400).to_string());
        }
    });
}

#[test]
fn a_signal_is_for_all_in_a_cgroup_and_below_it() {
    on_each_layout(|host| {
        let cgroup = host.create("one", &Limits::default());
        let part = cgroup.parts().unwrap().make("part").unwrap();
        let inside = [idle_in(&cgroup), idle_in(&cgroup)];
        let below = idle_in_part(&cgroup, &part);
        let outside = host.create("two", &Limits::default());
        let other = idle_in(&outside);
        cgroup.signal(Signal::TERM).unwrap();
        for child in inside.iter().chain([&below]) {
            assert_eq!(wait(&child.pidfd), Ok(Exit::Signal(Signal::TERM)));
        }
        // Nobody is no error, and nobody else was meant.
        cgroup.signal(Signal::TERM).unwrap();
        assert_eq!(outside.pids().unwrap(), [other.pid]);
        outside.signal(Signal::KILL).unwrap();
        assert_eq!(wait(&other.pidfd), Ok(Exit::Signal(Signal::KILL)));
        assert_eq!(part.remove_part().unwrap(), Removed::Yes);
    });
}

/// Whatever comes before it in the order of writing is as it was, given or not.
#[test]
fn a_change_that_is_refused_in_the_middle_is_taken_back() {
    on_each_layout(|host| {
        let Some(version) = home(host, Controller::Cpuset) else { return };
        if home(host, Controller::Cpu) != Some(version) {
            return;
        }
        let one = host.create("one", &Limits::default());
        let files = match version {
            Version::V1 => ["cpu.shares", "cpuset.cpus", "cpu.cfs_quota_us"],
            Version::V2 => ["cpu.weight", "cpuset.cpus", "cpu.max"],
        };
        let of = |view: &View<'_>, file: &str| {
            read_to_string(view.mount.join(&host.parent).join("one").join(file)).ok()
        };
        let all = || files.map(|file| one.views().find_map(|view| of(&view, file)));
        let before = all();
        assert!(before.iter().flatten().count() >= 2, "{before:?}");
        let cpu = Cpu {
            shares: Some(700),
            cpus: Some("0".into()),
            // There is no such node: the kernel refuses the last of them.
            mems: Some("4000".into()),
            ..Cpu::from_nano_cpus(500_000_000)
        };
        let mut limits = Limits { cpu, ..Limits::default() };
        one.update(&limits).unwrap_err();
        assert_eq!(all(), before);
        // What was taken whole is put back by whoever has to.
        limits.cpu.mems = None;
        let was = one.update(&limits).unwrap();
        assert_ne!(all(), before);
        one.put_back(was);
        assert_eq!(all(), before);
    });
}

#[test]
fn limits_land_in_the_files_and_change() {
    on_each_layout(|host| {
        if home(host, Controller::Memory) != Some(Version::V1) {
            return;
        }
        let memory = |limit, with_swap| Memory {
            limit: Some(Max::At(limit)),
            with_swap: Some(Max::At(with_swap)),
            ..Memory::default()
        };
        let limits = Limits {
            memory: memory(64 << 20, 96 << 20),
            cpu: Cpu {
                shares: Some(512),
                cpus: Some("0".into()),
                ..Cpu::from_nano_cpus(500_000_000)
            },
            pids: Some(Max::At(77)),
            ..Limits::default()
        };
        let cgroup = host.create("one", &limits);
        let limit = || content(&cgroup, "memory", "memory.limit_in_bytes");
        let with_swap = || content(&cgroup, "memory", "memory.memsw.limit_in_bytes");
        assert_eq!([limit(), with_swap()], ["67108864", "100663296"]);
        assert_eq!(content(&cgroup, "cpu", "cpu.shares"), "512");
        assert_eq!(content(&cgroup, "cpu", "cpu.cfs_quota_us"), "50000");
        assert_eq!(content(&cgroup, "cpu", "cpu.cfs_period_us"), "100000");
        assert_eq!(content(&cgroup, "cpuset", "cpuset.cpus"), "0");
        assert_ne!(content(&cgroup, "cpuset", "cpuset.mems"), "");
        assert_eq!(content(&cgroup, "pids", "pids.max"), "77");

        // Beyond the old sum, below the old limit, and back to none: each in one update.
        let update = |memory| cgroup.update(&Limits { memory, ..Limits::default() }).unwrap();
        update(memory(256 << 20, 256 << 20));
        assert_eq!([limit(), with_swap()], ["268435456", "268435456"]);
        update(memory(8 << 20, 16 << 20));
        assert_eq!([limit(), with_swap()], ["8388608", "16777216"]);
        let unlimited = Some(Max::Unlimited);
        update(Memory { limit: unlimited, with_swap: unlimited, ..Memory::default() });
        assert_eq!(cgroup.stats().unwrap().memory.unwrap().limit, Max::Unlimited);
        // What an update leaves out stays.
        assert_eq!(content(&cgroup, "cpu", "cpu.shares"), "512");

        let cpu = Cpu { quota: Some(Max::At(10_000)), period: Some(20_000), ..Cpu::default() };
        cgroup.update(&Limits { cpu, ..Limits::default() }).unwrap();
        assert_eq!(content(&cgroup, "cpu", "cpu.cfs_period_us"), "20000");
    });
}

#[test]
fn limits_land_in_v2s_files_and_change() {
    on_each_layout(|host| {
        // A hybrid host may have some of them there and others on v1.
        let needed = [Controller::Memory, Controller::Cpu, Controller::Pids];
        if needed.iter().any(|controller| home(host, *controller) != Some(Version::V2)) {
            return;
        }
        let memory = |limit, with_swap| Memory {
            limit: Some(Max::At(limit)),
            with_swap: Some(Max::At(with_swap)),
            ..Memory::default()
        };
        let limits = Limits {
            memory: memory(64 << 20, 96 << 20),
            cpu: Cpu { shares: Some(512), ..Cpu::from_nano_cpus(500_000_000) },
            pids: Some(Max::At(77)),
            ..Limits::default()
        };
        let cgroup = host.create("one", &limits);
        let file = |name| content(&cgroup, "", name);
        // Swap has a limit of its own here.
        assert_eq!([file("memory.max"), file("memory.swap.max")], ["67108864", "33554432"]);
        assert_eq!(file("cpu.weight"), "59");
        assert_eq!(file("cpu.max"), "50000 100000");
        assert_eq!(file("pids.max"), "77");
        let update = |memory| cgroup.update(&Limits { memory, ..Limits::default() }).unwrap();
        update(memory(8 << 20, 24 << 20));
        assert_eq!([file("memory.max"), file("memory.swap.max")], ["8388608", "16777216"]);
        let unlimited = Some(Max::Unlimited);
        update(Memory { limit: unlimited, with_swap: unlimited, ..Memory::default() });
        assert_eq!([file("memory.max"), file("memory.swap.max")], ["max", "max"]);
        assert_eq!(cgroup.stats().unwrap().memory.unwrap().limit, Max::Unlimited);
        assert_eq!(file("cpu.weight"), "59");
    });
}

#[test]
fn a_controller_that_v2_has_is_handed_down_when_a_limit_needs_it() {
    on_each_layout(|host| {
        let at_root = on_v2(host, "hugetlb");
        let pages = HugePages { page_size: "2MB".into(), limit: 4 << 20 };
        let limits = Limits { huge_pages: vec![pages], ..Limits::default() };
        let result = host.try_create("one", &limits);
        if at_root {
            let cgroup = result.unwrap();
            assert_eq!(content(&cgroup, "", "hugetlb.2MB.max"), "4194304");
        } else {
            let error = result.unwrap_err();
            assert!(
                matches!(error, CgroupError::Limit(LimitError::NoController { .. })),
                "{error}"
            );
        }
    });
}

#[test]
fn a_limit_below_what_is_in_use_is_refused_on_request() {
    on_each_layout(|host| {
        if !has(host, Controller::Memory) {
            return;
        }
        let cgroup = host.create("one", &Limits::default());
        let child = idle_in(&cgroup);
        let memory =
            Memory { limit: Some(Max::At(1)), check_before_update: true, ..Memory::default() };
        let error = cgroup.update(&Limits { memory, ..Limits::default() }).unwrap_err();
        assert!(matches!(error, CgroupError::Limit(LimitError::InUse { .. })), "{error}");
        cgroup.kill().unwrap();
        wait(&child.pidfd).unwrap();
    });
}

#[test]
fn the_limit_of_tasks_bites() {
    on_each_layout(|host| {
        if !has(host, Controller::Pids) {
            return;
        }
        let limits = Limits { pids: Some(Max::At(5)), ..Limits::default() };
        let cgroup = host.create("one", &limits);
        let child = start_in(&cgroup, || {
            let failed = (1..20).find_map(|started| Some((started, start_idle().err()?)));
            match failed {
                Some((started, Errno::AGAIN)) => started,
                _ => 100,
            }
        });
        // Itself and four more.
        assert_eq!(wait(&child.pidfd), Ok(Exit::Code(5)));
        let pids = cgroup.stats().unwrap().pids.unwrap();
        assert_eq!((pids.current, pids.limit), (4, Max::At(5)));
        cgroup.kill().unwrap();
        let view = if home(host, Controller::Pids) == Some(Version::V1) { "pids" } else { "" };
        assert_eq!(content(&cgroup, view, "pids.max"), "5");
    });
}

#[test]
fn an_out_of_memory_kill_is_told_and_counted() {
    on_each_layout(|host| {
        if !has(host, Controller::Memory) {
            assert!(host.create("one", &Limits::default()).oom_fd().unwrap().is_none());
            return;
        }
        let memory = Memory {
            limit: Some(Max::At(16 << 20)),
            with_swap: Some(Max::At(32 << 20)),
            ..Memory::default()
        };
        let cgroup = host.create("one", &Limits { memory, ..Limits::default() });
        let watch = cgroup.oom_fd().unwrap().unwrap();
        assert_eq!(cgroup.oom_kills().unwrap(), 0);
        assert!(!is_readable(&watch, 0));
        // tail keeps the one endless line in memory.
        let argv = ["sh", "-c", "head -c 200M /dev/zero | tail"];
        let strings = |words: &[&str]| {
            ExecStrings::new(
                words.iter().map(|word| std::ffi::CString::new(*word).unwrap()).collect(),
            )
        };
        let (argv, envp) = (strings(&argv), strings(&["PATH=/usr/bin:/bin"]));
        let child = start_in(&cgroup, || {
            execve(c"/bin/sh", &argv, &envp);
            97
        });
        // Whoever is chosen, and the shell may be: the kernel's signal is what is seen.
        assert_eq!(wait(&child.pidfd).unwrap().shell_code(), 137);
        assert!(is_readable(&watch, 0));
        assert!(rustix::io::read(&watch, &mut [0; 4096][..]).unwrap() > 0);
        // A victim that is slow to die can be followed by another.
        assert!(cgroup.oom_kills().unwrap() >= 1);
        assert!(cgroup.stats().unwrap().memory.unwrap().failures > 0);
    });
}

#[test]
fn frozen_processes_do_nothing_until_they_are_thawed() {
    on_each_layout(|host| {
        let cgroup = host.create("one", &Limits::default());
        let (question, ask) = rustix::pipe::pipe().unwrap();
        let (answer, reply) = rustix::pipe::pipe().unwrap();
        let child = start_in(&cgroup, || {
            while rustix::io::read(&question, &mut [0; 1][..]) == Ok(1) {
                let _ = rustix::io::write(&reply, b"!");
            }
            0
        });
        let asked = || rustix::io::write(&ask, b"?").unwrap();
        let answered = || rustix::io::read(&answer, &mut [0; 1][..]).unwrap();
        asked();
        answered();
        cgroup.freeze().unwrap();
        asked();
        assert!(!is_readable(&answer, 30));
        cgroup.thaw().unwrap();
        answered();
        // The frozen can be killed.
        cgroup.freeze().unwrap();
        cgroup.kill().unwrap();
        assert_eq!(wait(&child.pidfd), Ok(Exit::Signal(Signal::KILL)));
    });
}

fn fork_for_ever() -> i32 {
    loop {
        // A child of a clone that fails for want of room is retried at once: that is the bomb.
        let _ = clone3(&CloneArgs::default(), fork_for_ever);
    }
}

fn fork_one_by_one() -> i32 {
    loop {
        let _ = clone3(&CloneArgs::default(), || 0);
    }
}

#[test]
fn a_fork_bomb_is_killed_to_the_last() {
    on_each_layout(|host| {
        let pids = has(host, Controller::Pids).then_some(Max::At(60));
        let cgroup = host.create("one", &Limits { pids, ..Limits::default() });
        let child = if pids.is_some() {
            start_in(&cgroup, fork_for_ever)
        } else {
            // Nothing but the kill stops it here, so it is kept small by itself.
            start_in(&cgroup, || {
                (0..20).for_each(|_| drop(clone3(&CloneArgs::default(), fork_one_by_one)));
                let _ = poll(&mut [], None);
                0
            })
        };
        until("a bomb", || cgroup.pids().unwrap().len() >= 15);
        cgroup.kill().unwrap();
        assert!(cgroup.pids().unwrap().is_empty());
        assert_eq!(wait(&child.pidfd), Ok(Exit::Signal(Signal::KILL)));
        cgroup.remove().unwrap();
        assert!(directories(&cgroup).iter().all(|directory| !directory.exists()));
    });
}

#[test]
fn a_part_is_told_from_the_rest_and_killed_without_it() {
    on_each_layout(|host| {
        let pids = has(host, Controller::Pids).then_some(Max::At(60));
        let whole = host.create("one", &Limits { pids, ..Limits::default() });
        let other = idle_in(&whole);
        let parts = whole.parts().unwrap();
        let part = parts.make("exec-1").unwrap();
        assert!(matches!(parts.make("exec-1"), Err(CgroupError::Exists(_))));
        let child = idle_in_part(&whole, &part);
        // One that limits nothing has the limits of the whole: even a bomb does.
        let bomb = pids.map(|_| start_in_part(&whole, &part, fork_for_ever));
        let least = if bomb.is_some() { 15 } else { 1 };
        until("processes in the part", || part.pids().unwrap().len() >= least);
        assert!(!part.pids().unwrap().contains(&other.pid));
        assert!(whole.pids().unwrap().contains(&child.pid));
        assert_eq!(part.remove_part().unwrap(), Removed::InUse);
        let watch = part.watch_members();
        assert_eq!(watch.is_some(), host.hierarchies.unified().is_some());
        part.start_kill().unwrap();
        for child in bomb.into_iter().chain([child]) {
            assert_eq!(wait(&child.pidfd), Ok(Exit::Signal(Signal::KILL)));
        }
        until("an empty part", || part.remove_part().unwrap() != Removed::InUse);
        if let Some(watch) = watch {
            let mut fds = [PollFd::new(&watch, PollFlags::PRI)];
            assert_eq!(poll(&mut fds, None), Ok(1), "the last one's end is told");
        }
        assert_eq!(whole.pids().unwrap(), [other.pid]);
        // What is left of parts goes with the whole.
        let left = parts.make("exec-2").unwrap();
        let child = idle_in_part(&whole, &left);
        whole.kill().unwrap();
        for child in [child, other] {
            assert_eq!(wait(&child.pidfd), Ok(Exit::Signal(Signal::KILL)));
        }
        whole.remove().unwrap();
        assert_eq!(part.remove_part().unwrap(), Removed::Yes, "it has gone already");
    });
}

#[test]
fn a_part_with_more_below_it_than_are_removed_at_a_time_is_removed_bit_by_bit() {
    on_each_layout(|host| {
        let whole = host.create("one", &Limits::default());
        let part = whole.parts().unwrap().make("exec-1").unwrap();
        let dirs = directories(&part);
        let dir = dirs.iter().find(|dir| dir.exists()).unwrap();
        (0..600).for_each(|number| std::fs::create_dir(dir.join(number.to_string())).unwrap());
        assert_eq!(part.remove_part().unwrap(), Removed::InUse);
        let left = std::fs::read_dir(dir).unwrap().flatten();
        let left = left.filter(|entry| entry.file_type().unwrap().is_dir()).count();
        assert!(0 < left && left < 600, "{left}");
        // The whole is removed at once.
        whole.remove().unwrap();
    });
}

#[test]
fn a_watch_tells_that_its_part_has_gone() {
    on_each_layout(|host| {
        let whole = host.create("one", &Limits::default());
        let parts = whole.parts().unwrap();
        let part = parts.make("exec-1").unwrap();
        if let Some(watch) = part.watch_members() {
            assert_eq!(Cgroup::settle(&watch), Settled::Waits);
            assert_eq!(part.remove_part().unwrap(), Removed::Yes);
            // One of the same name is another.
            let part = parts.make("exec-1").unwrap();
            assert_eq!(Cgroup::settle(&watch), Settled::Gone);
            assert_eq!(
                part.watch_members().map(|watch| Cgroup::settle(&watch)),
                Some(Settled::Waits)
            );
        }
        whole.remove().unwrap();
    });
}

#[test]
fn more_processes_than_are_killed_at_a_time_are_killed() {
    on_each_layout(|host| {
        let cgroup = host.create("one", &Limits::default());
        let child = start_in(&cgroup, || {
            (0..300).map(|_| start_idle()).filter(Result::is_err).count().try_into().unwrap_or(-1)
        });
        assert_eq!(wait(&child.pidfd), Ok(Exit::Code(0)));
        assert_eq!(cgroup.pids().unwrap().len(), 300);
        cgroup.kill().unwrap();
        assert!(cgroup.pids().unwrap().is_empty());
    });
}

#[test]
fn a_container_that_nests_cgroups_keeps_none_and_hides_nobody() {
    on_each_layout(|host| {
        let cgroup = host.create("one", &Limits::default());
        for directory in directories(&cgroup) {
            for nested in ["a/b/c", "a/d", "e"] {
                std::fs::create_dir_all(directory.join(nested)).unwrap();
            }
        }
        let nested = format!("{}/one/a/b", host.parent);
        let inner = Cgroup::open(&host.hierarchies, &nested, "c").unwrap();
        // v1's cpusets take nobody before they have processors.
        if let Some(cpuset) = cgroup.views().find(|view| view.options == "cpuset") {
            let own = cpuset.mount.join(cpuset.path);
            let levels = ["a", "a/b", "a/b/c"];
            let files = ["cpuset.cpus", "cpuset.mems"];
            for (level, file) in levels.iter().flat_map(|level| files.map(|file| (level, file))) {
                let value = read_to_string(own.join(file)).unwrap();
                std::fs::write(own.join(level).join(file), value).unwrap();
            }
        }
        let child = idle_in(&inner);
        assert_eq!(cgroup.pids().unwrap(), [child.pid]);
        let error = cgroup.remove().unwrap_err();
        assert!(matches!(error, CgroupError::Remove { source: Errno::BUSY, .. }), "{error}");
        cgroup.kill().unwrap();
        wait(&child.pidfd).unwrap();
        cgroup.remove().unwrap();
        assert!(directories(&cgroup).iter().all(|directory| !directory.exists()));
    });
}

#[test]
fn removal_waits_for_a_process_that_is_on_its_way_out() {
    on_each_layout(|host| {
        for _ in 0..20 {
            let cgroup = host.create("one", &Limits::default());
            let child = idle_in(&cgroup);
            sys::process::pidfd_send_signal(&child.pidfd, Signal::KILL).unwrap();
            // Not reaped, perhaps not even dead.
            cgroup.remove().unwrap();
            wait(&child.pidfd).unwrap();
        }
    });
}

#[test]
fn only_allowed_devices_can_be_opened() {
    on_each_layout(|host| {
        let null = |access| DeviceRule {
            effect: Effect::Allow,
            kind: DeviceKind::Char,
            major: Some(1),
            minor: Some(3),
            access,
        };
        let rules = vec![
            DeviceRule::everything(Effect::Deny),
            null(Access::READ),
            null(Access::WRITE.union(Access::READ)),
        ];
        let devices = DeviceRules::new(rules);
        let cgroup = host.create_with("one", &Limits::default(), &devices).unwrap();
        let child = start_in(&cgroup, || {
            let open = |path, flags| rustix::fs::open(path, flags, Mode::empty()).err();
            let answers = [
                open(c"/dev/null", OFlags::RDWR).is_none(),
                open(c"/dev/zero", OFlags::RDONLY) == Some(Errno::PERM),
                open(c"/dev/kmsg", OFlags::WRONLY) == Some(Errno::PERM),
            ];
            answers.iter().take_while(|answer| **answer).count().try_into().unwrap_or(-1)
        });
        // All three are as they should be.
        assert_eq!(wait(&child.pidfd), Ok(Exit::Code(3)));
    });
}

#[test]
fn statistics_count_what_is_used() {
    on_each_layout(|host| {
        let cgroup = host.create("one", &Limits::default());
        let mut memory = vec![1_u8; 4 << 20];
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let child = start_in(&cgroup, || {
            // The copies of these pages are the cgroup's.
            memory.iter_mut().for_each(|byte| *byte += 1);
            let _ = rustix::io::write(&writer, &memory[..1]);
            loop {
                std::hint::spin_loop();
            }
        });
        assert_eq!(rustix::io::read(&reader, &mut [0; 1][..]), Ok(1));
        // Time is counted while it passes. Which of it is a program's own the kernel guesses by its ticks, and
        // one that is itself a program (User Mode Linux) may never see one there.
        let mut stats = cgroup.stats().unwrap();
        until("time that is counted", || {
            stats = cgroup.stats().unwrap();
            stats.cpu.user + stats.cpu.system > 0
        });
        assert!(stats.cpu.usage > 0);
        let home = home(host, Controller::Memory);
        assert_eq!(stats.version, home.unwrap_or(Version::V2));
        assert_eq!(stats.memory.is_some(), home.is_some());
        if let (Some(memory), Some(pids)) = (stats.memory, stats.pids) {
            assert!(memory.usage > 1 << 20);
            let cache =
                if home == Some(Version::V1) { "total_inactive_file" } else { "inactive_file" };
            assert!(memory.stat.contains_key(cache));
            assert_eq!(pids.current, 1);
            // v2 does not count for each processor.
            let counted = stats.cpu.per_cpu.iter().any(|usage| *usage > 0);
            assert_eq!(counted, home == Some(Version::V1));
        }
        cgroup.kill().unwrap();
        wait(&child.pidfd).unwrap();
    });
}

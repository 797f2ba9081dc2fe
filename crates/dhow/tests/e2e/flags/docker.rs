//! Docker's flags (of its client of 2026-08), command by command: what a user may type. `=` marks
//! those that take a value.

/// A command in all of its spellings, and its flags.
pub(super) type Flags = (&'static [&'static str], &'static str);

pub(super) const CREATE: &str = "add-host= annotation= a,attach= blkio-weight= blkio-weight-device= cap-add= cap-drop= \
    cgroup-parent= cgroupns= cidfile= cpu-count= cpu-percent= cpu-period= cpu-quota= cpu-rt-period= cpu-rt-runtime= \
    c,cpu-shares= cpus= cpuset-cpus= cpuset-mems= device= device-cgroup-rule= device-read-bps= device-read-iops= \
    device-write-bps= device-write-iops= disable-content-trust dns= dns-opt= dns-option= dns-search= domainname= \
    entrypoint= e,env= env-file= expose= gpus= group-add= health-cmd= health-interval= health-retries= \
    health-start-interval= health-start-period= health-timeout= h,hostname= init i,interactive io-maxbandwidth= \
    io-maxiops= ip= ip6= ipc= isolation= kernel-memory= l,label= label-file= link= link-local-ip= log-driver= log-opt= \
    mac-address= m,memory= memory-reservation= memory-swap= memory-swappiness= mount= name= net= net-alias= network= \
    network-alias= no-healthcheck oom-kill-disable oom-score-adj= pid= pids-limit= platform= privileged p,publish= \
    P,publish-all pull= q,quiet read-only restart= rm runtime= security-opt= shm-size= stop-signal= stop-timeout= \
    storage-opt= sysctl= tmpfs= t,tty ulimit= use-api-socket u,user= userns= uts= v,volume= volume-driver= \
    volumes-from= w,workdir=";

/// What `run` has beside them.
pub(super) const RUN: &str = "d,detach detach-keys= sig-proxy";

pub(super) const OTHERS: &[Flags] = &[
    (&["attach", "container attach"], "detach-keys= no-stdin sig-proxy"),
    (&["checkpoint create"], "checkpoint-dir= leave-running"),
    (&["checkpoint ls", "checkpoint list"], "checkpoint-dir="),
    (&["checkpoint rm", "checkpoint remove"], "checkpoint-dir="),
    (&["commit", "container commit"], "a,author= c,change= m,message= no-pause p,pause"),
    (&["cp", "container cp"], "a,archive L,follow-link q,quiet"),
    (&["diff", "container diff"], ""),
    (
        &["exec", "container exec"],
        "d,detach detach-keys= e,env= env-file= i,interactive privileged t,tty u,user= w,workdir=",
    ),
    (&["export", "container export"], "o,output="),
    (&["container inspect"], "f,format= s,size"),
    (&["inspect"], "f,format= s,size type="),
    (&["kill", "container kill"], "s,signal="),
    (&["logs", "container logs"], "details f,follow since= n,tail= t,timestamps until="),
    (
        &["ps", "container ls", "container list", "container ps"],
        "a,all f,filter= format= n,last= l,latest no-trunc q,quiet s,size",
    ),
    (&["pause", "container pause"], ""),
    (&["port", "container port"], ""),
    (&["container prune"], "filter= f,force"),
    (&["rename", "container rename"], ""),
    (&["restart", "container restart"], "s,signal= time= t,timeout="),
    (&["rm", "container rm", "container remove"], "f,force l,link v,volumes"),
    (
        &["start", "container start"],
        "a,attach checkpoint= checkpoint-dir= detach-keys= i,interactive",
    ),
    (&["stats", "container stats"], "a,all format= no-stream no-trunc"),
    (&["stop", "container stop"], "s,signal= time= t,timeout="),
    (&["top", "container top"], ""),
    (&["unpause", "container unpause"], ""),
    (
        &["update", "container update"],
        "blkio-weight= cpu-period= cpu-quota= cpu-rt-period= cpu-rt-runtime= c,cpu-shares= cpus= cpuset-cpus= \
         cpuset-mems= kernel-memory= m,memory= memory-reservation= memory-swap= pids-limit= restart=",
    ),
    (&["wait", "container wait"], ""),
    (&["events", "system events"], "f,filter= format= since= until="),
    (&["info", "system info"], "f,format="),
    (&["version"], "f,format="),
    (&["system df"], "format= v,verbose"),
    (&["system prune"], "a,all filter= f,force volumes"),
];

/// Docker's flags that are not here on purpose, and why.
pub(super) const LEFT_OUT: &[(&str, &str)] = &[
    ("cpu-count", "Windows"),
    ("cpu-percent", "Windows"),
    ("io-maxbandwidth", "Windows"),
    ("io-maxiops", "Windows"),
    ("kernel-memory", "without effect in Docker as well: the kernel has given it up"),
    ("use-api-socket", "hands the server's own socket to a container"),
];

//! A session with testcontainers for Rust. Prints `ok STEP` or `not ok STEP` for each.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::query_parameters::RemoveVolumeOptions;
use testcontainers::core::wait::ExitWaitStrategy;
use testcontainers::core::{CmdWaitFor, ExecCommand, IntoContainerPort as _, Mount, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, Healthcheck, ImageExt as _};

type Done<T = ()> = Result<T, Box<dyn Error>>;

const SERVE: [&str; 7] = ["httpd", "-f", "-v", "-p", "80", "-h", "/etc"];
const SLEEP: [&str; 2] = ["sleep", "1000"];

fn busybox() -> GenericImage {
    GenericImage::new("busybox", "latest")
}

/// What a command in a container prints, once it has ended well.
async fn inside(container: &ContainerAsync<GenericImage>, script: &str) -> Done<String> {
    let command =
        ExecCommand::new(["sh", "-c", script]).with_cmd_ready_condition(CmdWaitFor::exit_code(0));
    let mut ran = container.exec(command).await?;
    Ok(String::from_utf8(ran.stdout_to_vec().await?)?)
}

async fn a_container_ends_with_its_value() -> Done {
    let image = busybox()
        .with_wait_for(WaitFor::message_on_stdout("ready"))
        .with_wait_for(WaitFor::message_on_stderr("bad"));
    let made =
        image.with_cmd(["sh", "-c", "echo ready; echo bad >&2; exec sleep 1000"]).start().await?;
    assert_eq!(inside(&made, "echo inside").await?, "inside\n");
    assert_eq!(made.stdout_to_vec().await?, b"ready\n");
    assert_eq!(made.stderr_to_vec().await?, b"bad\n");
    let mut refused = made.exec(ExecCommand::new(["sh", "-c", "echo no >&2; exit 7"])).await?;
    assert_eq!(refused.stderr_to_vec().await?, b"no\n");
    let docker = Docker::connect_with_unix_defaults()?;
    let id = made.id().to_owned();
    assert!(docker.inspect_container(&id, None).await.is_ok());
    drop(made);
    let told = docker.inspect_container(&id, None).await.unwrap_err().to_string();
    assert!(told.contains("No such container"), "{told}");
    Ok(())
}

async fn a_port_is_reached_as_it_is_told() -> Done {
    let made = busybox().with_exposed_port(80.tcp()).with_cmd(SERVE).start().await?;
    let address =
        format!("{}:{}", made.get_host().await?, made.get_host_port_ipv4(80.tcp()).await?);
    // Nothing says when it listens: until then a connection ends without an answer.
    let mut answer = String::new();
    let began = Instant::now();
    while !answer.contains("root") && began.elapsed() < Duration::from_secs(60) {
        answer.clear();
        let Ok(mut stream) = TcpStream::connect(&address) else { continue };
        let asked = stream.write_all(b"GET /group HTTP/1.0\r\n\r\n");
        // What it came to is in the answer.
        drop(asked.and_then(|()| stream.read_to_string(&mut answer)));
    }
    assert!(answer.contains("root"), "{answer}");
    Ok(())
}

async fn environment_mounts_and_copies() -> Done {
    let made = busybox()
        .with_cmd(SLEEP)
        .with_env_var("A", "b")
        .with_hostname("box")
        .with_user("33:33")
        .with_working_dir("/tmp")
        .with_mount(Mount::tmpfs_mount("/memory"))
        .with_mount(Mount::volume_mount("testcontainers-rust", "/kept"))
        .with_copy_to("/copied/file", b"what was copied\n".to_vec())
        .start()
        .await?;
    assert_eq!(inside(&made, "echo $A $(hostname) $(id -u) $PWD").await?, "b box 33 /tmp\n");
    assert_eq!(inside(&made, "cat /copied/file").await?, "what was copied\n");
    assert_eq!(inside(&made, "grep -c -E ' /(memory|kept) ' /proc/mounts").await?, "2\n");
    let content: Vec<u8> = made.copy_file_from("/copied/file", Vec::new()).await?;
    assert_eq!(content, b"what was copied\n");
    made.rm().await?;
    let docker = Docker::connect_with_unix_defaults()?;
    Ok(docker.remove_volume("testcontainers-rust", None::<RemoveVolumeOptions>).await?)
}

async fn containers_on_a_network_find_each_other() -> Done {
    let server = busybox()
        .with_cmd(SERVE)
        .with_network("testcontainers-rust")
        .with_container_name("tc-server");
    let server = server.start().await?;
    let client = busybox().with_cmd(SLEEP).with_network("testcontainers-rust").start().await?;
    let page = inside(&client, "until wget -q -O - http://tc-server/group; do :; done").await?;
    assert!(page.contains("root"), "{page}");
    drop((server, client));
    // It goes with the last container on it.
    let docker = Docker::connect_with_unix_defaults()?;
    assert!(docker.inspect_network("testcontainers-rust", None).await.is_err());
    Ok(())
}

async fn health_and_ends_are_waited_for() -> Done {
    let check =
        Healthcheck::cmd_shell("test -e /tmp/well").with_interval(Duration::from_millis(100));
    let image = busybox().with_wait_for(WaitFor::healthcheck());
    image
        .with_cmd(["sh", "-c", "touch /tmp/well; exec sleep 1000"])
        .with_health_check(check)
        .start()
        .await?;
    let ends = WaitFor::exit(ExitWaitStrategy::new().with_exit_code(3));
    let ended = busybox().with_wait_for(ends).with_cmd(["sh", "-c", "exit 3"]).start().await?;
    assert!(!ended.is_running().await?);
    assert_eq!(ended.exit_code().await?, Some(3));
    Ok(())
}

async fn what_runs_is_stopped_paused_and_started() -> Done {
    let made = busybox().with_cmd(SLEEP).start().await?;
    made.pause().await?;
    made.unpause().await?;
    made.stop_with_timeout(Some(1)).await?;
    assert!(!made.is_running().await?);
    made.start().await?;
    assert!(made.is_running().await?);
    Ok(())
}

async fn an_image_that_is_nowhere_is_an_error() -> Done {
    // Nothing listens at this port.
    let told = GenericImage::new("127.0.0.1:1/nosuch", "1")
        .start()
        .await
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(told.contains("127.0.0.1:1/nosuch"), "{told}");
    Ok(())
}

/// Runs a step; one that fails has said why, and the others go on.
fn step(name: &str, work: impl Future<Output = Done>) {
    // A container that goes waits for the engine, which needs a thread beside the step's.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    match catch_unwind(AssertUnwindSafe(|| runtime.block_on(work))) {
        Ok(Ok(())) => println!("ok rust::{name}"),
        Ok(Err(error)) => println!("not ok rust::{name}\n{error}"),
        Err(_) => println!("not ok rust::{name}"),
    }
}

macro_rules! steps {
    ($($name:ident),* $(,)?) => {
        $(step(stringify!($name), $name());)*
    };
}

fn main() {
    steps!(
        a_container_ends_with_its_value,
        a_port_is_reached_as_it_is_told,
        environment_mounts_and_copies,
        containers_on_a_network_find_each_other,
        health_and_ends_are_waited_for,
        what_runs_is_stopped_paused_and_started,
        an_image_that_is_nowhere_is_an_error,
    );
}

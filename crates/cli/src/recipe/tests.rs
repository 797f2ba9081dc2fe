//! Containers as they are shown, and what makes them again.

use super::*;
use docker_api::json::parse_reply;
use expect_test::{Expect, expect};

const IMAGE: &str = r#"{"Env":["PATH=/bin"],"Cmd":["sh"],"Labels":{"from":"image"},"WorkingDir":"/srv","ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":{}}}"#;

fn check(container: &str, style: Recipe, want: Expect) {
    let container: ContainerInspect = parse_reply(container.as_bytes()).unwrap();
    let image: ImageConfig = parse_reply(IMAGE.as_bytes()).unwrap();
    want.assert_eq(&write(&container, Some(&image), style));
}

/// As inspection shows one that was asked for nothing.
fn plain(config: &str, host: &str) -> String {
    let config = if config.is_empty() { String::new() } else { format!(",{config}") };
    let host = if host.is_empty() { String::new() } else { format!(",{host}") };
    let text = format!(
        r#"{{"Id":"0123456789abcdef","Name":"/web","Image":"sha256:aa","Config":{{"Hostname":"0123456789ab","Env":["A=1","PATH=/bin"],"Cmd":["sh"],"Image":"app:1","WorkingDir":"/srv","Labels":{{"from":"image"}},"ExposedPorts":{{"80/tcp":{{}}}},"Volumes":{{"/data":{{}}}}{config}}},
        "HostConfig":{{"NetworkMode":"bridge","LogConfig":{{"Type":"json-file","Config":{{}}}},"RestartPolicy":{{"Name":"no"}},"IpcMode":"private","CgroupnsMode":"private","ShmSize":67108864,"Runtime":"runc","MaskedPaths":["/proc/acpi"]{host}}}}}"#
    );
    // What is said again replaces what was said before.
    serde_json::from_str::<serde_json::Value>(&text).unwrap().to_string()
}

#[test]
fn what_the_image_says_is_not_repeated() {
    check(
        &plain("", ""),
        Recipe::Run,
        expect![[r"
        dhow run --detach --name web --env A=1 app:1
    "]],
    );
    check(
        &plain("", ""),
        Recipe::Compose,
        expect![[r#"
            services:
              web:
                image: "app:1"
                container_name: "web"
                network_mode: "bridge"
                environment:
                  - "A=1"
        "#]],
    );
}

#[test]
fn words_are_quoted_for_the_shell() {
    let config = r#""Env":["Q=it's $HOME\n"],"Cmd":["sh","-c","echo \"$1\"; # *",""],"Labels":{"a b":"","from":"other"}"#;
    check(
        &plain(config, ""),
        Recipe::Run,
        expect![[r#"
        dhow run --detach --name web --env 'Q=it'\''s $HOME
        ' --label 'a b=' --label from=other app:1 sh -c 'echo "$1"; # *' ''
    "#]],
    );
}

#[test]
fn control_characters_are_nobodys_keys() {
    let config = r#""Labels":{"x":"a\u0003\nrm -rf ~\n'\u001b[201~\u009b"}"#;
    check(
        &plain(config, ""),
        Recipe::Run,
        expect![[r#"
            dhow run --detach --name web --env A=1 --label $'x=a\003\nrm -rf ~\n\'\033[201~\302\233' app:1
        "#]],
    );
}

#[test]
fn an_entrypoint_takes_the_command_along() {
    let config = r#""Entrypoint":["/e","--x"],"Cmd":["sh"]"#;
    check(
        &plain(config, ""),
        Recipe::Run,
        expect![[r#"
            dhow run --detach --name web --entrypoint /e --env A=1 app:1 --x sh
        "#]],
    );
}

/// A container that was asked for much.
fn rich() -> String {
    let config = r#""Tty":true,"OpenStdin":true,"User":"1:2","StopTimeout":3,"Env":["PRICE=5$"],"Healthcheck":{"Test":["CMD","a","b c"],"Interval":90000000000,"Retries":4}"#;
    let host = r#""NetworkMode":"front","PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"}],"53/udp":[{"HostIp":"::1","HostPort":""}]},"Binds":["vol:/v:ro","/h:/b"],"Mounts":[{"Type":"tmpfs","Target":"/m","TmpfsOptions":{"SizeBytes":1048576,"Mode":448}},{"Type":"bind","Source":"/a,b","Target":"/c","ReadOnly":true,"BindOptions":{"Propagation":"rslave"}}],"Memory":67108864,"NanoCpus":1500000000,"Ulimits":[{"Name":"nofile","Soft":10,"Hard":20}],"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3},"CapAdd":["CAP_SYS_TIME"],"Sysctls":{"net.core.somaxconn":"9"},"LogConfig":{"Type":"local","Config":{"max-size":"1m"}},"Devices":[{"PathOnHost":"/dev/null","PathInContainer":"/dev/x","CgroupPermissions":"r"}],"MaskedPaths":[]"#;
    plain(config, host)
}

#[test]
fn the_whole_of_a_command_line() {
    let container = rich();
    check(
        &container,
        Recipe::Run,
        expect![[r#"
        dhow run --detach --name web --user 1:2 --env 'PRICE=5$' --interactive --tty --log-driver local --log-opt max-size=1m --network front --publish '[::1]::53/udp' --publish 127.0.0.1:8080:80/tcp --volume vol:/v:ro --volume /h:/b --mount type=tmpfs,target=/m,tmpfs-size=1048576,tmpfs-mode=700 --mount 'type=bind,"source=/a,b",target=/c,readonly,bind-propagation=rslave' --memory 67108864 --cpus 1.5 --ulimit nofile=10:20 --device /dev/null:/dev/x:r --cap-add CAP_SYS_TIME --security-opt systempaths=unconfined --sysctl net.core.somaxconn=9 --restart on-failure:3 --stop-timeout 3 --health-cmd 'a '\''b c'\''' --health-interval 90s --health-retries 4 app:1
    "#]],
    );
}

#[test]
fn the_whole_of_a_service() {
    let container = rich();
    check(
        &container,
        Recipe::Compose,
        expect![[r#"
        services:
          web:
            image: "app:1"
            container_name: "web"
            user: "1:2"
            environment:
              - "PRICE=5$$"
            stdin_open: true
            tty: true
            logging:
              driver: "local"
              options:
                max-size: "1m"
            networks:
              - "front"
            ports:
              - "[::1]::53/udp"
              - "127.0.0.1:8080:80/tcp"
            volumes:
              - "vol:/v:ro"
              - "/h:/b"
              - type: "tmpfs"
                target: "/m"
                tmpfs:
                  size: 1048576
                  mode: 448
              - type: "bind"
                source: "/a,b"
                target: "/c"
                read_only: true
                bind:
                  propagation: "rslave"
                  create_host_path: false
            mem_limit: 67108864
            cpus: "1.5"
            ulimits:
              nofile:
                soft: 10
                hard: 20
            devices:
              - "/dev/null:/dev/x:r"
            cap_add:
              - "CAP_SYS_TIME"
            security_opt:
              - "systempaths=unconfined"
            sysctls:
              net.core.somaxconn: "9"
            restart: "on-failure:3"
            stop_grace_period: "3s"
            healthcheck:
              test:
                - "CMD"
                - "a"
                - "b c"
              interval: "90s"
              retries: 4
        networks:
          front:
            external: true
        volumes:
          vol:
            external: true
    "#]],
    );
}

/// Requests for devices, and mounts with everything that a mount can have.
fn special() -> String {
    let host = r#""DeviceRequests":[{"Driver":"nvidia","Count":-1,"Capabilities":[["gpu"]]},{"Count":0,"DeviceIDs":["0","1"],"Capabilities":[["utility","gpu"]],"Options":{"a":"b"}},{"Driver":"cdi","DeviceIDs":["v.org/c=d"]}],"Mounts":[{"Type":"bind","Source":"/new","Target":"/n","Consistency":"cached","BindOptions":{"CreateMountpoint":true}},{"Type":"volume","Source":"v","Target":"/v","VolumeOptions":{"Labels":{"a":"1","b":"x,y"},"DriverConfig":{"Name":"local","Options":{"o":"bind,ro","type":"none"}}}}]"#;
    plain("", host)
}

#[test]
fn special_requests_on_a_command_line() {
    check(
        &special(),
        Recipe::Run,
        expect![[r#"
        dhow run --detach --name web --env A=1 --mount type=bind,source=/new,target=/n,consistency=cached,bind-create-src --mount 'type=volume,source=v,target=/v,volume-label=a=1,"volume-label=b=x,y",volume-driver=local,"volume-opt=o=bind,ro",volume-opt=type=none' --device v.org/c=d --gpus all,driver=nvidia --gpus '"device=0,1",capabilities=utility,options=a=b' app:1
    "#]],
    );
}

#[test]
fn special_requests_of_a_service() {
    check(
        &special(),
        Recipe::Compose,
        expect![[r#"
        services:
          web:
            image: "app:1"
            container_name: "web"
            network_mode: "bridge"
            environment:
              - "A=1"
            volumes:
              - type: "bind"
                source: "/new"
                target: "/n"
                consistency: "cached"
                bind:
                  create_host_path: true
              - type: "volume"
                source: "v"
                target: "/v"
                volume:
                  labels:
                    - "a=1"
                    - "b=x,y"
            devices:
              - "v.org/c=d"
            gpus:
              - driver: "nvidia"
                count: "all"
              - device_ids:
                  - "0"
                  - "1"
                capabilities:
                  - "utility"
                options:
                  a: "b"
        volumes:
          v:
            external: true
    "#]],
    );
}

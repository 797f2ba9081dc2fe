//! Names, connections, TLS, redirects.

use std::net::TcpListener;
use std::time::Duration;

use registry::{Host, Hosts, Origin, Scheme, Server as Where, Trust};

use crate::fixture::{Client, Image};
use crate::server::{Reply, Server};

fn configured(domain: &str, host: Host) -> Client {
    let mut client = Client::new();
    client.registry.hosts = Hosts::one(domain, host);
    client
}

fn trusting(domain: &str) -> Client {
    configured(domain, trusted())
}

fn trusted() -> Host {
    let authorities = vec![include_bytes!("tls/authority.der").to_vec().into()];
    Host { authorities, ..Host::default() }
}

#[test]
fn a_registry_with_tls_is_trusted_by_its_authority_and_name() {
    let image = Image::new(&[1000]);
    let contents = image.contents();
    let server = Server::start_tls(move |request| contents.serve(request));
    let port = server.address.port();
    let name = format!("registry.localhost:{port}/app");
    let client = trusting(&format!("registry.localhost:{port}"));
    client.pull(&name).unwrap();
    client.assert_has(&image, &name);

    let refusal = Client::new().pull(&name).unwrap_err().to_string();
    let host = format!("registry.localhost:{port}");
    assert!(refusal.contains(&format!("TLS with {host}: ")), "{refusal}");
    assert!(refusal.contains("UnknownIssuer"), "{refusal}");

    let client = trusting(&format!("other.localhost:{port}"));
    let refusal = client.pull(&format!("other.localhost:{port}/app")).unwrap_err().to_string();
    assert!(refusal.contains(&format!("TLS with other.localhost:{port}: ")), "{refusal}");
}

#[test]
fn plain_http_is_spoken_to_configured_hosts_only() {
    let image = Image::new(&[1000]);
    let server = image.contents().start();
    let host = format!("plain.localhost:{}", server.address.port());
    let mut client = Client::new();
    assert!(client.pull(&format!("{host}/app")).unwrap_err().to_string().contains("TLS with"));
    assert!(server.seen().is_empty());
    let origin = Origin {
        scheme: Scheme::Http,
        host: "plain.localhost".to_owned(),
        port: server.address.port(),
    };
    client.registry.hosts =
        Hosts::one(&host, Host { server: Where::At(origin), ..Host::default() });
    client.pull(&format!("{host}/app")).unwrap();
}

#[test]
fn an_insecure_registry_is_spoken_to_as_it_speaks_itself() {
    let image = Image::new(&[1000]);
    let insecure = || Host { server: Where::Either, trust: Trust::Anyone, ..Host::default() };
    let contents = image.contents();
    let secure = Server::start_tls(move |request| contents.serve(request));
    // Its certificate is for another name, by an authority that nobody knows.
    let host = format!("any.localhost:{}", secure.address.port());
    configured(&host, insecure()).pull(&format!("{host}/app")).unwrap();

    let plain = image.contents().start();
    let host = format!("any.localhost:{}", plain.address.port());
    configured(&host, insecure()).pull(&format!("{host}/app")).unwrap();
}

#[test]
fn only_the_registry_itself_may_be_anyone() {
    let image = Image::new(&[1000]);
    let contents = image.contents();
    let elsewhere = Server::start_tls(move |request| contents.serve(request));
    let to = format!("https://registry.localhost:{}", elsewhere.address.port());
    let server = Server::start_tls(move |request| {
        Reply::new(302, "").with("Location", format!("{to}{}", request.target))
    });
    let host = format!("registry.localhost:{}", server.address.port());
    let client = configured(&host, Host { trust: Trust::Anyone, ..Host::default() });
    let refusal = client.pull(&format!("{host}/app")).unwrap_err().to_string();
    assert!(refusal.contains("UnknownIssuer"), "{refusal}");
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn a_redirect_may_go_up_to_tls_but_not_down() {
    let image = Image::new(&[1000]);
    let (contents, plain) = (image.contents(), image.contents().start());
    let secure = Server::start_tls(move |request| contents.serve(request));
    let to = format!("https://registry.localhost:{}", secure.address.port());
    let up = Server::start(move |request| {
        Reply::new(302, "").with("Location", format!("{to}{}", request.target))
    });
    // What is configured must be by TLS unless it says otherwise, at a loopback address too.
    let either = Host { server: Where::Either, ..trusted() };
    configured(&up.address.to_string(), either).pull_from(&up).unwrap();

    let to = format!("http://{}", plain.address);
    let down = Server::start_tls(move |request| {
        Reply::new(302, "").with("Location", format!("{to}{}", request.target))
    });
    let name = format!("registry.localhost:{}/app", down.address.port());
    let client = trusting(&format!("registry.localhost:{}", down.address.port()));
    let refusal = client.pull(&name).unwrap_err().to_string();
    let end = format!("to plain http://{} is refused", plain.address);
    assert!(refusal.ends_with(&end), "{refusal}");
    assert!(plain.seen().is_empty());
}

#[test]
fn redirects_without_end_are_not_followed() {
    let server = Server::start(|request| {
        Reply::new(301, "").with("Location", format!("{}/more?secret=hunter2", request.target))
    });
    let refusal = Client::new().refusal(&server);
    assert!(refusal.ends_with("http://HOST redirects further than is followed"), "{refusal}");
    assert_eq!(server.seen().len(), 11);
    let server = Server::start(|_| Reply::new(301, "").with("Location", "ftp://me:pw@x/"));
    let refusal = Client::new().refusal(&server);
    assert!(refusal.contains("http://HOST redirects to a bad address"), "{refusal}");
}

#[test]
fn connections_are_used_again() {
    let image = Image::new(&[1000; 9]);
    let contents = image.contents();
    let peers = std::sync::Arc::new(std::sync::Mutex::new(0));
    // Each connection says hello once: the server closes none of them.
    let counted = std::sync::Arc::clone(&peers);
    let server = Server::start(move |request| {
        if request.is_first {
            *counted.lock().unwrap() += 1;
        }
        contents.serve(request)
    });
    Client::new().pull_from(&server).unwrap();
    assert!(*peers.lock().unwrap() <= 3, "{peers:?}");
}

#[test]
fn a_host_that_takes_no_connection_is_named_with_its_address() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refusal = Client::new().pull(&format!("{address}/app")).unwrap_err().to_string();
    assert_eq!(
        refusal,
        format!(
            "pull {address}/app:latest from {address}: connect to {address}: connection refused"
        )
    );
    let name = format!("registry.localhost:{}", address.port());
    let refusal = Client::new().pull(&format!("{name}/app")).unwrap_err().to_string();
    assert!(refusal.contains(&format!(": connect to {name} at ")), "{refusal}");
}

#[test]
fn a_name_without_an_address_is_named() {
    let mut client = Client::new();
    client.registry.limits.connect = Duration::from_millis(300);
    let refusal = client.pull("registry.invalid/app").unwrap_err().to_string();
    let begin =
        "pull registry.invalid/app:latest from registry.invalid: look up registry.invalid: ";
    assert!(refusal.starts_with(begin), "{refusal}");
}

#[test]
fn a_server_that_speaks_no_http_is_named() {
    let server = Server::start(|_| Reply::new(999, "").with("Bad Header", "x"));
    let refusal = Client::new().refusal(&server);
    assert!(refusal.contains("connection to HOST broke: "), "{refusal}");
}

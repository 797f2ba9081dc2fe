//! Layers: in parallel, resumed, verified, fetched once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use registry::{Event, Freshness, LayerStep};
use serde_json::json;
use store::oci::digest;

use crate::fixture::{Client, Image, error};
use crate::server::{Gate, Reply, Sending, Server};

/// More than the buffers on the way hold.
const LARGE: usize = 3 << 20;

#[test]
fn an_image_is_pulled_and_told_about_in_dockers_order() {
    let image = Image::new(&[100_000]);
    let server = image.contents().start();
    let client = Client::new();
    let pulled = client.pull_from(&server).unwrap();
    let manifest = digest(image.manifest.to_string().as_bytes());
    assert_eq!((pulled.digest, pulled.freshness), (manifest, Freshness::Downloaded));

    let name = format!("{}/app", server.address);
    client.assert_has(&image, &name);
    client.assert_has(&image, &format!("{name}@{manifest}"));

    let mut events = client.events.lock().unwrap().clone();
    events.dedup_by(|next, last| match (last, next) {
        (Event::Layer(_, last), Event::Layer(_, next)) => {
            std::mem::discriminant(last) == std::mem::discriminant(next)
        }
        _ => false,
    });
    let total = image.layers[0].len() as u64;
    let steps: Vec<LayerStep> = events
        .iter()
        .filter_map(|event| match event {
            Event::Layer(digest, step) => (*digest == image.layer(0)).then_some(*step),
            Event::Found | Event::Resolved(_) | Event::Ended(_) => None,
        })
        .collect();
    assert!(
        matches!(
            steps[..],
            [
                LayerStep::Pulling,
                LayerStep::Downloading { .. },
                LayerStep::Verifying,
                LayerStep::Downloaded,
                LayerStep::Extracting { .. },
                LayerStep::Done
            ]
        ),
        "{steps:?}"
    );
    assert!(steps.contains(&LayerStep::Extracting { current: total, total }));
    assert_eq!(events.first(), Some(&Event::Found));
    assert_eq!(
        events[events.len() - 2..],
        [Event::Resolved(manifest), Event::Ended(Freshness::Downloaded)]
    );
}

#[test]
fn an_image_that_is_here_is_up_to_date_without_a_blob_being_asked_for() {
    let image = Image::new(&[1000, 1000]);
    let server = image.contents().start();
    let client = Client::new();
    client.pull_from(&server).unwrap();
    client.events.lock().unwrap().clear();
    let blobs = server.seen_with("/blobs/").len();
    let again = client.pull_from(&server).unwrap();
    assert_eq!(again.freshness, Freshness::UpToDate);
    assert_eq!(server.seen_with("/blobs/").len(), blobs);
    let events = client.events.lock().unwrap().clone();
    let expected = [Event::Found, Event::Resolved(again.digest), Event::Ended(Freshness::UpToDate)];
    assert_eq!(events, expected);
}

#[test]
fn layers_that_images_share_come_once() {
    let (first, second) = (Image::new(&[1000]), Image::new(&[1000, 2000]));
    assert_eq!(first.layer(0), second.layer(0));
    let mut contents = first.contents();
    contents.add(&second);
    contents.tag("two", model::image::media_type::OCI_MANIFEST, &second.manifest);
    let server = contents.start();
    let client = Client::new();
    client.pull_from(&server).unwrap();
    let name = format!("{}/app:two", server.address);
    assert_eq!(client.pull(&name).unwrap().freshness, Freshness::Downloaded);
    client.assert_has(&second, &name);
    assert_eq!(server.seen_with(&first.path(0)).len(), 1);
    let events = client.events.lock().unwrap().clone();
    assert!(events.contains(&Event::Layer(first.layer(0), LayerStep::Exists)));
}

#[test]
fn a_layer_that_an_image_has_twice_comes_once() {
    let mut image = Image::new(&[1000]);
    let layer = image.manifest["layers"][0].clone();
    image.manifest["layers"] = json!([layer, layer]);
    let diff_id = image.config["rootfs"]["diff_ids"][0].clone();
    image.config["rootfs"]["diff_ids"] = json!([diff_id, diff_id]);
    let image = image.of(&model::Platform::host().architecture);
    let server = image.contents().start();
    Client::new().pull_from(&server).unwrap();
    assert_eq!(server.seen_with(&image.path(0)).len(), 1);
}

#[test]
fn three_layers_come_at_once_and_no_fourth() {
    let image = Image::new(&[1000; 7]);
    let contents = image.contents();
    let config = digest(image.config.to_string().as_bytes()).to_string();
    let (together, now, most) =
        (Barrier::new(3), AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let (asked, seen_most) = (AtomicUsize::new(0), Arc::clone(&most));
    let server = Server::start(move |request| {
        if request.target.contains("/blobs/") && !request.target.contains(&config) {
            seen_most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Two rounds of three that are open at the same time; the seventh comes alone.
            if asked.fetch_add(1, Ordering::SeqCst) < 6 {
                together.wait();
            }
            now.fetch_sub(1, Ordering::SeqCst);
        }
        contents.serve(request)
    });
    let client = Client::new();
    client.pull_from(&server).unwrap();
    client.assert_has(&image, &format!("{}/app", server.address));
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[test]
fn a_layer_that_breaks_off_goes_on_where_it_was() {
    let image = Image::new(&[LARGE]);
    let size = image.layers[0].len();
    for cut in [0, 1, 1000, size / 2, size - 1] {
        let (contents, path) = (image.contents(), image.path(0));
        let asked = AtomicUsize::new(0);
        let server = Server::start(move |request| {
            let reply = contents.serve(request);
            let is_first = request.target == path && asked.fetch_add(1, Ordering::SeqCst) == 0;
            if is_first { reply.sending(Sending::Cut(cut)) } else { reply }
        });
        let client = Client::new();
        client.pull_from(&server).unwrap();
        client.assert_has(&image, &format!("{}/app", server.address));
        let sent: usize = server.seen_with(&image.path(0)).iter().map(|seen| seen.sent).sum();
        assert_eq!(sent, size, "cut at {cut}");
    }
}

#[test]
fn a_connection_that_breaks_with_each_piece_is_enough_if_there_is_progress() {
    let image = Image::new(&[12 << 20]);
    let (contents, path) = (image.contents(), image.path(0));
    let server = Server::start(move |request| {
        let reply = contents.serve(request);
        let cut = reply.body.len().min(5 << 18);
        if request.target == path { reply.sending(Sending::Cut(cut)) } else { reply }
    });
    let client = Client::new();
    client.pull_from(&server).unwrap();
    client.assert_has(&image, &format!("{}/app", server.address));
    // More interruptions than one place may have.
    assert!(server.seen_with(&image.path(0)).len() > 6);
}

#[test]
fn a_server_that_ignores_ranges_is_listened_to_again() {
    let image = Image::new(&[LARGE]);
    let size = image.layers[0].len();
    type Bend = fn(Reply) -> Reply;
    let whole: Bend = |reply| reply;
    let wrong: Bend = |mut reply| {
        reply.status = 206;
        reply.with("Content-Range", "bytes 7-9/10")
    };
    let unsatisfiable: Bend = |_| Reply::new(416, "");
    for (name, bend) in [("200", whole), ("wrong", wrong), ("416", unsatisfiable)] {
        let (contents, path) = (image.contents(), image.path(0));
        let asked = AtomicUsize::new(0);
        let server = Server::start(move |request| {
            let mut plain = request.clone();
            plain.headers.retain(|(name, _)| name != "range");
            let reply = contents.serve(&plain);
            match (request.target == path, request.header("range")) {
                (true, Some(_)) => bend(reply),
                (true, None) if asked.fetch_add(1, Ordering::SeqCst) == 0 => {
                    reply.sending(Sending::Cut(size / 2))
                }
                _ => reply,
            }
        });
        let client = Client::new();
        client.pull_from(&server).unwrap();
        client.assert_has(&image, &format!("{}/app", server.address));
        assert!(server.seen_with(&image.path(0)).len() >= 2, "{name}");
    }
}

#[test]
fn what_an_interrupted_pull_has_fetched_is_not_fetched_again() {
    let image = Image::new(&[LARGE, 1000]);
    let size = image.layers[0].len();
    let (contents, path) = (image.contents(), image.path(0));
    let server = Server::start(move |request| {
        let reply = contents.serve(request);
        let is_first = request.target == path && request.header("range").is_none();
        if is_first { reply.sending(Sending::Cut(size / 2)) } else { reply }
    });
    let mut client = Client::new();
    client.registry.limits.retries = 0;
    let refusal = client.refusal(&server);
    let name = format!("layer {} from HOST: given up after 1 attempts, with ", image.layer(0));
    assert!(refusal.starts_with(&name), "{refusal}");
    client.pull_from(&server).unwrap();
    client.assert_has(&image, &format!("{}/app", server.address));
    let asked = server.seen_with(&image.path(0));
    assert_eq!(asked[1].header("range"), Some(format!("bytes={}-", size / 2).as_str()));
    assert_eq!(asked.iter().map(|request| request.sent).sum::<usize>(), size);
}

#[test]
fn what_was_left_damaged_is_fetched_anew() {
    let image = Image::new(&[LARGE]);
    let server = image.contents().start();
    let client = Client::new();
    let part = client.store.root().join("ingest").join(image.layer(0).hex());
    std::fs::write(part, vec![b'x'; 1000]).unwrap();
    client.pull_from(&server).unwrap();
    client.assert_has(&image, &format!("{}/app", server.address));
}

#[test]
fn a_pull_waits_for_a_layer_that_another_one_fetches() {
    let image = Image::new(&[LARGE]);
    let (contents, path) = (image.contents(), image.path(0));
    let gate = Arc::new(Gate::default());
    let at_server = Arc::clone(&gate);
    let server = Server::start(move |request| {
        let reply = contents.serve(request);
        match request.target == path {
            true => reply.sending(Sending::Gate(1000, Arc::clone(&at_server))),
            false => reply,
        }
    });
    let client = Client::new();
    let name = format!("{}/app", server.address);
    let asked = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| client.pull(&name).unwrap());
        gate.reached();
        // The second one finds the layer under way, and so lets it go on.
        let waiting = Event::Layer(image.layer(0), LayerStep::Waiting);
        let second = client.pull_telling(&name, &|event| {
            if *event == waiting {
                asked.store(server.seen_with(&image.path(0)).len(), Ordering::SeqCst);
                gate.open();
            }
        });
        assert_eq!(second.unwrap().id, first.join().unwrap().id);
    });
    client.assert_has(&image, &name);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn two_pulls_that_need_what_the_other_has_do_not_wait_for_each_other() {
    let image = Image::new(&[50_000; 8]);
    let (contents, together) = (image.contents(), Barrier::new(2));
    let server = Server::start(move |request| {
        if request.target.contains("/manifests/") {
            together.wait();
        }
        contents.serve(request)
    });
    let client = Client::new();
    let name = format!("{}/app", server.address);
    std::thread::scope(|scope| {
        let pulls = [(); 2].map(|()| scope.spawn(|| client.pull(&name).unwrap()));
        for pull in pulls {
            pull.join().unwrap();
        }
    });
    client.assert_has(&image, &name);
    for at in 0..8 {
        assert_eq!(server.seen_with(&image.path(at)).len(), 1, "layer {at}");
    }
}

#[test]
fn a_layer_with_another_content_is_refused_and_forgotten() {
    let image = Image::new(&[1000, 2000]);
    let mut contents = image.contents();
    let other = Image::new(&[3000, 2000]).layers[0].clone();
    let mut lie = other.clone();
    lie.resize(image.layers[0].len(), 0);
    for wrong in [lie, vec![0; image.layers[0].len()]] {
        contents.blobs.insert(image.layer(0).to_string(), wrong);
        let server = contents.clone().start();
        let client = Client::new();
        let refusal = client.refusal(&server);
        let name = format!("layer {} from HOST: ", image.layer(0));
        assert!(refusal.starts_with(&name), "{refusal}");
        assert!(!client.store.root().join("ingest").join(image.layer(0).hex()).exists());
    }
}

#[test]
fn a_sound_archive_under_the_wrong_digest_is_refused() {
    let image = Image::new(&[1000]);
    let mut contents = image.contents();
    // A second member of gzip that is empty: same tree, same diff id, another blob.
    let mut longer = image.layers[0].clone();
    longer.extend(
        flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none()).finish().unwrap(),
    );
    let mut bent = image.clone();
    let wanted = "sha256:".to_owned() + &"ab".repeat(32);
    bent.manifest["layers"][0]["digest"] = wanted.clone().into();
    bent.manifest["layers"][0]["size"] = longer.len().into();
    contents.tag("latest", model::image::media_type::OCI_MANIFEST, &bent.manifest);
    contents.blobs.insert(wanted.clone(), longer.clone());
    let server = contents.start();
    let actual = digest(&longer);
    assert_eq!(
        Client::new().refusal(&server),
        format!(
            "layer {wanted} from HOST: blob {wanted} has the wrong content: its digest is {actual}"
        )
    );
}

#[test]
fn a_wrong_diff_id_is_refused() {
    let mut image = Image::new(&[1000]);
    image.config["rootfs"]["diff_ids"][0] = format!("sha256:{}", "ab".repeat(32)).into();
    let image = image.of(&model::Platform::host().architecture);
    let refusal = Client::new().refusal(&image.contents().start());
    assert!(refusal.contains("has the wrong content: its diff id is sha256:"), "{refusal}");
}

#[test]
fn a_layer_of_another_size_is_refused_before_it_comes() {
    let image = Image::new(&[1000]);
    let actual = image.layers[0].len();
    for size in [actual - 1, actual + 1] {
        let mut bent = image.clone();
        bent.manifest["layers"][0]["size"] = size.into();
        let server = bent.contents().start();
        assert_eq!(
            Client::new().refusal(&server),
            format!(
                "layer {} from HOST: it has {actual} bytes there, the manifest says {size}",
                image.layer(0)
            )
        );
    }
}

#[test]
fn a_layer_without_a_length_is_as_long_as_the_manifest_says() {
    let image = Image::new(&[LARGE]);
    for (extra, is_good) in [(0, true), (5000, true), (-5000, false)] {
        let (contents, path) = (image.contents(), image.path(0));
        let server = Server::start(move |request| {
            let mut reply = contents.serve(request);
            if request.target == path && request.header("range").is_none() {
                let size = reply.body.len().saturating_add_signed(extra);
                reply.body.resize(size, 0);
                reply.sending = Sending::Chunked;
            } else if request.target == path {
                return Reply::new(200, &reply.body[..0]).sending(Sending::Chunked);
            }
            reply
        });
        let client = Client::new();
        match is_good {
            // What is beyond the end is not read.
            true => drop(client.pull_from(&server).unwrap()),
            false => {
                let refusal = client.refusal(&server);
                assert!(refusal.contains("given up after 6 attempts"), "{refusal}");
                assert!(refusal.ends_with(": the answer ended early"), "{refusal}");
            }
        }
    }
}

/// It is never silent, and not done in time: 4 MiB are as many packets.
#[test]
fn a_server_that_drips_a_document_is_given_up() {
    let server = Server::start(|_| Reply::new(200, vec![b' '; 4 << 20]).sending(Sending::Dripping));
    let mut client = Client::new();
    client.registry.limits.document = Duration::from_millis(100);
    let refusal = client.refusal(&server);
    assert!(refusal.ends_with("HOST did not finish its answer within 0.1 s"), "{refusal}");
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    for target in ["/manifests/", "/blobs/"] {
        for at in [0, 100] {
            check_silence(target, at);
        }
    }
}

fn check_silence(target: &'static str, at: usize) {
    let contents = Image::new(&[LARGE]).contents();
    let server = Server::start(move |request| {
        let reply = contents.serve(request);
        if request.target.contains(target) { reply.sending(Sending::Hang(at)) } else { reply }
    });
    let mut client = Client::new();
    // Long enough for what the server does answer, on a machine that is busy.
    client.registry.limits.idle = Duration::from_secs(2);
    client.registry.limits.retries = 1;
    let refusal = client.refusal(&server);
    assert!(refusal.ends_with("HOST sent nothing for 2 s"), "{refusal}");
    assert_eq!(server.seen_with(target).len(), 2);
}

#[test]
fn a_busy_registry_is_asked_again_and_not_for_ever() {
    let image = Image::new(&[1000]);
    for status in [429, 503] {
        let server = busy(&image, status, 2);
        Client::new().pull_from(&server).unwrap();
        assert_eq!(server.seen_with(&image.path(0)).len(), 3);

        let server = busy(&image, status, usize::MAX);
        let refusal = Client::new().refusal(&server);
        assert!(refusal.contains(&format!("the registry answered {status} ")), "{refusal}");
        assert!(refusal.ends_with(": toomanyrequests: slow down"), "{refusal}");
        assert_eq!(server.seen_with(&image.path(0)).len(), 6);
    }
}

/// Refuses the layer so many times.
fn busy(image: &Image, status: u16, times: usize) -> Server {
    let (contents, path) = (image.contents(), image.path(0));
    let asked = AtomicUsize::new(0);
    Server::start(move |request| {
        let is_busy = request.target == path && asked.fetch_add(1, Ordering::SeqCst) < times;
        match is_busy {
            // Far longer than anybody waits.
            true => error(status, "TOOMANYREQUESTS", "slow down").with("Retry-After", "86400"),
            false => contents.serve(request),
        }
    })
}

#[test]
fn one_layer_that_fails_ends_the_pull_and_the_others_are_kept() {
    let image = Image::new(&[LARGE, 1000]);
    let (contents, paths) = (image.contents(), [image.path(0), image.path(1)]);
    let gate = Arc::new(Gate::default());
    let at_server = Arc::clone(&gate);
    let server = Server::start(move |request| {
        let reply = contents.serve(request);
        if request.target == paths[1] {
            at_server.reached();
            return error(404, "BLOB_UNKNOWN", "blob unknown to registry");
        }
        match request.target == paths[0] && request.header("range").is_none() {
            true => reply.sending(Sending::Gate(LARGE / 2, Arc::clone(&at_server))),
            false => reply,
        }
    });
    let mut client = Client::new();
    // Nobody is to be silent here.
    client.registry.limits.idle = Duration::from_secs(30);
    client.registry.limits.retries = 0;
    assert_eq!(
        client.refusal(&server),
        format!(
            "layer {} from HOST: the registry answered 404 Not Found: blob unknown: blob unknown to registry",
            image.layer(1)
        )
    );
    gate.open();
    let part = client.store.root().join("ingest").join(image.layer(0).hex());
    assert!(std::fs::metadata(part).unwrap().len() > 0);
}

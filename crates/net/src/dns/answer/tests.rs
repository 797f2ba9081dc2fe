//! Questions of every kind, and of none.

use super::*;
use crate::dns::record::Record as Names;
use crate::dns::zone::tests::{id, record, zone};
use crate::dns::zone::{Bare, Members, Segment};
use hickory_proto::op::MessageType;
use proptest::prelude::*;
use std::rc::Rc;

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

fn asked_of(zone: &Zone, question: &Message, transport: Transport) -> Outcome {
    answer(&bytes(question), transport, zone, &mut Chance::new(1), &mut |_| true)
}

/// What is answered, as one line.
fn line(outcome: &Outcome) -> String {
    let Outcome::Reply(reply) = outcome else { return format!("{outcome:?}") };
    let reply = Message::from_vec(reply).unwrap();
    assert_eq!(reply.metadata.id, 0x1234);
    assert_eq!(reply.metadata.message_type, MessageType::Response);
    let mut answers: Vec<String> =
        reply.answers.iter().map(|record| record.data.to_string()).collect();
    answers.sort();
    let cut = if reply.metadata.truncation { " TC" } else { "" };
    format!("{:?}{cut} {}", reply.metadata.response_code, answers.join(" ")).trim_end().to_owned()
}

fn ask(name: &str, kind: RecordType) -> String {
    line(&asked_of(&zone(), &question(name, kind), Transport::Udp))
}

#[test]
fn names_have_addresses() {
    assert_eq!(ask("web.", RecordType::A), "NoError 10.1.0.2");
    assert_eq!(ask("WEB.", RecordType::A), "NoError 10.1.0.2");
    assert_eq!(ask("web.", RecordType::AAAA), "NoError fd01::2");
    assert_eq!(ask("www.front.", RecordType::A), "NoError 10.1.0.2 10.1.0.3");
    assert_eq!(ask("web.", RecordType::ANY), "NoError 10.1.0.2 fd01::2");
    assert_eq!(ask("host.docker.internal.", RecordType::A), "NoError 10.1.0.1");
}

#[test]
fn a_name_without_such_a_record_is_a_name_all_the_same() {
    assert_eq!(ask("web2.", RecordType::AAAA), "NoError");
    assert_eq!(ask("web.", RecordType::MX), "NoError");
    assert_eq!(ask("web.", RecordType::HTTPS), "NoError");
    assert_eq!(ask("host.dhow.internal.", RecordType::AAAA), "NoError");
}

#[test]
fn addresses_have_names() {
    assert_eq!(ask("2.0.1.10.in-addr.arpa.", RecordType::PTR), "NoError web.front.");
    assert_eq!(ask("3.0.2.10.in-addr.arpa.", RecordType::PTR), "NoError db.Back.end.");
    let six = Name::from("fd01::2".parse::<std::net::Ipv6Addr>().unwrap()).to_ascii();
    assert_eq!(ask(&six, RecordType::PTR), "NoError web.front.");
    for nobody in ["9.0.1.10.in-addr.arpa.", "10.in-addr.arpa.", "web.", "x.in-addr.arpa."] {
        let there = if nobody == "web." { "NoError" } else { "Forward" };
        assert_eq!(ask(nobody, RecordType::PTR), there, "{nobody}");
    }
}

#[test]
fn what_is_nobodys_goes_on() {
    assert_eq!(ask("example.org.", RecordType::A), "Forward");
    assert_eq!(ask("nobody.", RecordType::A), "Forward");
    assert_eq!(ask(".", RecordType::NS), "Forward");
    let kept = Zone { bare: Bare::Refused, ..zone() };
    let ask = |name| line(&asked_of(&kept, &question(name, RecordType::A), Transport::Udp));
    assert_eq!(ask("nobody."), "NXDomain");
    assert_eq!(ask("nobody.example."), "Forward");
    assert_eq!(ask("."), "Forward");
    assert_eq!(ask("web."), "NoError 10.1.0.2");
}

#[test]
fn other_classes_are_others_affair() {
    let mut chaos = question("web.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(line(&asked_of(&zone(), &chaos, Transport::Udp)), "Forward");
}

#[test]
fn what_no_server_is_asked_is_refused() {
    assert_eq!(ask("web.", RecordType::AXFR), "Refused");
    let mut notify = question("web.", RecordType::A);
    notify.metadata.op_code = OpCode::Notify;
    assert_eq!(line(&asked_of(&zone(), &notify, Transport::Udp)), "NotImp");
    let mut two = question("web.", RecordType::A);
    two.add_query(two.queries[0].clone());
    assert_eq!(line(&asked_of(&zone(), &two, Transport::Udp)), "FormErr");
    let mut none = question("web.", RecordType::A);
    none.queries.clear();
    assert_eq!(line(&asked_of(&zone(), &none, Transport::Udp)), "FormErr");
    let mut newer = question("web.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    newer.set_edns(edns);
    assert_eq!(line(&asked_of(&zone(), &newer, Transport::Udp)), "BADSIG", "16 has two names");
}

#[test]
fn what_is_no_question_gets_an_error_or_nothing() {
    let good = bytes(&question("web.", RecordType::A));
    let ask =
        |bytes: &[u8]| answer(bytes, Transport::Udp, &zone(), &mut Chance::new(1), &mut |_| true);
    assert_eq!(ask(&[]), Outcome::Nothing);
    assert_eq!(ask(&good[..11]), Outcome::Nothing);
    assert_eq!(line(&ask(&good[..20])), "FormErr");
    let mut reply = good.clone();
    reply[2] |= 0x80;
    assert_eq!(ask(&reply), Outcome::Nothing, "two that answer each other never end");
    let mut circle = good[..12].to_vec();
    circle.extend([0xc0, 12, 0, 1, 0, 1]);
    assert_eq!(line(&ask(&circle)), "FormErr", "a name that refers to itself");
}

/// One network with so many containers of one alias.
fn many(count: u8) -> Zone {
    let records: Vec<_> = (1..=count)
        .map(|number| {
            let name = format!("c{number}");
            let address = format!("10.3.0.{number}");
            let six = format!("fd03::{number}");
            let names: Names = record(&[&name, "all"], &[&address, &six]);
            (id(number), names)
        })
        .collect();
    let members = Rc::new(Members::new(records));
    Zone { segments: vec![Segment { name: "n".into(), members }], ..Zone::default() }
}

fn addresses(outcome: &Outcome) -> Vec<String> {
    let Outcome::Reply(reply) = outcome else { panic!("{outcome:?}") };
    let reply = Message::from_vec(reply).unwrap();
    reply.answers.iter().map(|record| record.data.to_string()).collect()
}

#[test]
fn an_answer_that_is_too_long_says_so_and_has_what_fits() {
    for (count, kind) in [(200, RecordType::A), (200, RecordType::AAAA), (30, RecordType::A)] {
        let asked = question("all.", kind);
        let short = asked_of(&many(count), &asked, Transport::Udp);
        let Outcome::Reply(reply) = &short else { panic!() };
        assert!(reply.len() <= 512, "{} bytes", reply.len());
        assert_eq!(Message::from_vec(reply).unwrap().metadata.truncation, count > 30);
        let size = if kind == RecordType::A { 16 } else { 28 };
        let most = (512 - 12 - 9) / size;
        assert_eq!(addresses(&short).len(), most.min(usize::from(count)));
        let whole = asked_of(&many(count), &asked, Transport::Tcp);
        assert_eq!(addresses(&whole).len(), usize::from(count));
    }
    let mut wide = question("all.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    wide.set_edns(edns);
    let whole = asked_of(&many(200), &wide, Transport::Udp);
    assert_eq!(addresses(&whole).len(), 200);
    let Outcome::Reply(reply) = &whole else { panic!() };
    assert!(Message::from_vec(reply).unwrap().edns.is_some(), "who says it hears it back");
}

#[test]
fn no_packet_is_longer_than_what_we_take_ourselves() {
    let mut greedy = question("all.", RecordType::AAAA);
    let mut edns = Edns::new();
    edns.set_max_payload(u16::MAX);
    greedy.set_edns(edns);
    assert_eq!(udp_limit(&bytes(&greedy)), usize::from(OWN_PAYLOAD));
    let Outcome::Reply(reply) = asked_of(&many(200), &greedy, Transport::Udp) else { panic!() };
    assert!(reply.len() <= usize::from(OWN_PAYLOAD), "{} bytes", reply.len());
    assert!(Message::from_vec(&reply).unwrap().metadata.truncation);
}

#[test]
fn what_is_too_long_or_asks_for_many_names_is_not_read() {
    let mut long = bytes(&question("web.", RecordType::A));
    long.resize(MAX_QUESTION, 0);
    assert_eq!(line(&answer_of(&long)), "NoError 10.1.0.2", "what follows is nobody's affair");
    long.push(0);
    assert_eq!(line(&answer_of(&long)), "FormErr");
    let mut many = bytes(&question("web.", RecordType::A));
    many[4..6].copy_from_slice(&[0, 2]);
    many.extend(many[HEADER..].to_vec());
    assert_eq!(line(&answer_of(&many)), "FormErr");
    assert_eq!(failure(&many), None);
}

fn answer_of(question: &[u8]) -> Outcome {
    answer(question, Transport::Tcp, &zone(), &mut Chance::new(1), &mut |_| true)
}

#[test]
fn everybody_comes_first_at_times() {
    let (zone, mut chance) = (many(30), Chance::new(7));
    let asked = bytes(&question("all.", RecordType::A));
    let mut first = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        let outcome = answer(&asked, Transport::Tcp, &zone, &mut chance, &mut |_| true);
        let mut all = addresses(&outcome);
        first.insert(all[0].clone());
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 30);
    }
    assert_eq!(first.len(), 30);
}

#[test]
fn a_failure_is_told_to_the_one_who_asked() {
    let asked = bytes(&question("example.org.", RecordType::A));
    assert_eq!(line(&Outcome::Reply(failure(&asked).unwrap())), "ServFail");
    assert_eq!(line(&Outcome::Reply(refused(&asked).unwrap())), "Refused");
    assert_eq!(failure(&[0; 5]), None);
    assert_eq!(failure(&failure(&asked).unwrap()), None, "an answer gets none");
}

fn harmless(question: &[u8], transport: Transport) {
    match answer(question, transport, &many(60), &mut Chance::new(3), &mut |_| true) {
        Outcome::Nothing | Outcome::Forward => {}
        Outcome::Reply(reply) => {
            let most = if transport == Transport::Udp { udp_limit(question) } else { MAX_MESSAGE };
            assert!((HEADER..=most).contains(&reply.len()), "{} bytes of {most}", reply.len());
            assert!(is_response(&reply));
            assert_eq!(reply[..2], question[..2], "the number of who asked");
            Message::from_vec(&reply).unwrap();
        }
    }
}

/// A plain question is answered without reading it as a message: it must not be another answer for that.
fn the_same(question: &[u8], zone: &Zone) -> bool {
    let mut chance = Chance::new(5);
    let Some(reply) = plain::answer(question, zone, &mut chance, &mut |_| true) else {
        return false;
    };
    let whole = answer_any(question, Transport::Udp, zone, &mut Chance::new(5), &mut |_| true);
    assert_eq!(Outcome::Reply(reply), whole, "{question:02x?}");
    true
}

#[test]
fn what_resolvers_ask_is_plain_and_answered_alike() {
    for (name, kind) in [
        ("web.", RecordType::A),
        ("WeB.Front.", RecordType::AAAA),
        ("web2.", RecordType::AAAA),
        ("dotted.name.", RecordType::A),
        ("host.docker.internal.", RecordType::A),
    ] {
        let mut asked = question(name, kind);
        // Of musl, of glibc, and with `options edns0 trust-ad` or DNSSEC's.
        assert!(the_same(&bytes(&asked), &zone()), "{name}");
        asked.metadata.authentic_data = true;
        asked.metadata.checking_disabled = true;
        asked.metadata.recursion_desired = false;
        assert!(the_same(&bytes(&asked), &zone()), "{name}");
        let mut edns = Edns::new();
        edns.set_max_payload(1200).set_dnssec_ok(true);
        asked.set_edns(edns);
        assert!(the_same(&bytes(&asked), &zone()), "{name}");
    }
    let most = bytes(&question("all.", RecordType::A));
    assert!(the_same(&most, &many(15)) && !the_same(&most, &many(60)), "what has to be cut");
    for (name, kind) in [
        ("nobody.", RecordType::A),
        (".", RecordType::A),
        ("web.", RecordType::ANY),
        ("2.0.1.10.in-addr.arpa.", RecordType::PTR),
    ] {
        assert!(
            !the_same(&bytes(&question(name, kind)), &zone()),
            "{name} is looked at as a whole"
        );
    }
}

/// A good question, of which something is another byte, missing or too much.
fn mangled() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop::sample::select(vec![
        RecordType::A,
        RecordType::AAAA,
        RecordType::PTR,
        RecordType::ANY,
        RecordType::OPT,
        RecordType::TXT,
    ]);
    let names = prop::sample::select(vec!["all.", "c1.n.", "1.0.3.10.in-addr.arpa.", "."]);
    let edns = prop::option::of(any::<u16>());
    let whole = (names, kinds, edns).prop_map(|(name, kind, payload)| {
        let mut message = question(name, kind);
        if let Some(payload) = payload {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            message.set_edns(edns);
        }
        bytes(&message)
    });
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let ends = (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..40));
    (whole, changes, prop::option::of(ends)).prop_map(|(mut message, changes, end)| {
        for (at, byte) in changes {
            let at = at.index(message.len());
            message[at] = byte;
        }
        if let Some((at, more)) = end {
            message.truncate(at.index(message.len()) + 1);
            message.extend(more);
        }
        message
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        harmless(&bytes, Transport::Udp);
    }

    #[test]
    fn mangled_questions_are_harmless(bytes in mangled()) {
        harmless(&bytes, Transport::Udp);
        harmless(&bytes, Transport::Tcp);
    }

    #[test]
    fn mangled_questions_that_are_plain_are_answered_alike(bytes in mangled()) {
        the_same(&bytes, &many(8));
    }
}

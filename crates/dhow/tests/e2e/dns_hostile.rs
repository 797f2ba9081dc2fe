//! Containers that ask for names as nobody should: without end, and with what is no question.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use hickory_proto::rr::RecordType;
use testkit::{Host, until, until_is};

use crate::dns::{
    NOBODY, SERVER, address, ask, ask_by_tcp, asker, inside, network, question, stay, told,
};
use crate::host;

/// Packets of a flood.
const FLOOD: u32 = 20_000;
/// Packets that are no question.
const PACKETS: u32 = 3000;
/// Connections by which none comes.
const CONNECTIONS: u32 = 100;

/// The guardian of a container, which answers it.
fn shim_of(host: &Host, name: &str) -> String {
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", name]);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    parent.trim().to_owned()
}

fn descriptors(shim: &str) -> usize {
    fs::read_dir(format!("/proc/{shim}/fd")).unwrap().count()
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(count).unwrap()).unwrap()
    }

    /// A question of which some bytes are others, and which may end early or late.
    fn spoilt(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bad = good.to_vec();
        for _ in 0..=self.below(6) {
            let at = self.below(bad.len());
            bad[at] = u8::try_from(self.below(256)).unwrap();
        }
        bad.resize(1 + self.below(2 * good.len()), 0xc0);
        bad
    }
}

#[test]
fn whatever_bytes_come_harm_nothing_and_leave_nothing() {
    let host = host();
    network(&host, "n");
    stay(&host, "n", "one", &NOBODY);
    let shim = shim_of(&host, "one");
    let before = descriptors(&shim);
    let (good, mut numbers) = (question("one.", RecordType::A), Numbers(0x9e37_79b9));
    let packets = asker(&host, "one");
    for number in 0..PACKETS {
        packets.send(&numbers.spoilt(&good)).unwrap();
        // So that they are read, and not lost in the socket's queue.
        if number % 100 == 0 {
            assert_eq!(
                told(&ask(&asker(&host, "one"), "one.", RecordType::A)),
                address(&host, "one")
            );
        }
    }
    for _ in 0..CONNECTIONS {
        let mut stream = inside(&host, "one", || TcpStream::connect(SERVER).unwrap());
        let bad = numbers.spoilt(&good);
        // The length that is announced is not always that of what comes.
        let length = u16::try_from(numbers.below(2 * bad.len())).unwrap();
        // It may have been hung up on already.
        let _ = stream.write_all(&[&length.to_be_bytes()[..], &bad].concat());
    }
    assert_eq!(told(&ask_by_tcp(&host, "one", "one.", RecordType::A)), address(&host, "one"));
    assert_eq!(shim_of(&host, "one"), shim, "nobody had to take its place");
    until("what came with them to be gone", || descriptors(&shim) <= before);
}

#[test]
fn one_who_asks_without_end_is_answered_and_keeps_nobody_out() {
    let host = host();
    network(&host, "n");
    stay(&host, "n", "one", &NOBODY);
    for number in 0..20 {
        stay(&host, "n", &format!("peer{number}"), &NOBODY);
    }
    let shim = shim_of(&host, "one");
    let before = descriptors(&shim);
    // It takes no answer, and so never waits.
    let greedy = asker(&host, "one");
    for number in 0..FLOOD {
        let name = format!("peer{}.", number % 20);
        greedy.send(&question(&name, RecordType::A)).unwrap();
        // For nobody's name somebody else would have to be asked.
        greedy.send(&question("example.org.", RecordType::A)).unwrap();
        if number % 5000 == 0 {
            host.ok(&["exec", "one", "true"]);
        }
    }
    // What did not fit into the queue is lost for everybody, as with every server; who asks again is heard.
    let other = asker(&host, "one");
    other.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    let answer = until_is("an answer for another", || {
        other.send(&question("peer7.", RecordType::A))?;
        let mut buffer = [0; 512];
        let length = other.recv(&mut buffer)?;
        Ok::<_, std::io::Error>(buffer[..length].to_vec())
    });
    let answer = hickory_proto::op::Message::from_vec(&answer).unwrap();
    assert_eq!(told(&answer), address(&host, "peer7"));
    until("what was kept open for it to be closed", || descriptors(&shim) <= before);
}

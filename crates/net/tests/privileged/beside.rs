//! Our rules in chains of others, by what comes through.

use std::io::Write as _;
use std::process::{Command, Stdio};

use model::RootTag;
use model::port::Protocol;
use net::names::Names;
use net::nft::Change;

use crate::lab::{
    HOST_V4, HOST_V6, Lab, ask, inside, is_kept_out, open_firewall, rules, serve_tcp,
};

/// Changes nftables as an administrator does.
#[expect(clippy::disallowed_methods, reason = "an administrator's program")]
pub(crate) fn nft(text: &str) -> String {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    String::from_utf8(output.stdout).unwrap()
}

fn pass(lab: &Lab, bridges: &[&str]) {
    let bridges = || Ok(bridges.iter().map(|name| (*name).to_owned()).collect());
    inside(&lab.host, || lab.firewall.pass_others(&mut { bridges })).unwrap();
}

/// The rules of a chain, without what they have counted.
fn chain(lab: &Lab, name: &str) -> Vec<String> {
    let listed = inside(&lab.host, || nft(&format!("list chain {name}")));
    let rules = listed.lines().skip(3).map(str::trim).filter(|line| *line != "}");
    let plain = |rule: &str| rule.replace("counter packets 0 bytes 0 ", "");
    rules.map(plain).collect()
}

#[test]
fn both_families_pass_what_others_drop() {
    let drops = "{ type filter hook forward priority 0; policy drop; }";
    let rejects = "{ type filter hook forward priority 0; reject; }";
    for rules_of_others in [
        format!("table ip a {{ chain f {drops}; }}; table ip6 a {{ chain f {drops}; }}"),
        format!("table inet a {{ chain f {rejects}; }}"),
        format!("table inet a {{ chain f {drops}; chain g {rejects}; }}"),
    ] {
        let lab = Lab::new();
        let server = lab.container(2);
        serve_tcp(&server.endpoint.netns, 80, "server");
        serve_tcp(&lab.client, 80, "client");
        lab.publish(&rules(&server, Protocol::Tcp, &["0.0.0.0:8080", "[::]:8080"], 80));
        inside(&lab.host, || nft(&rules_of_others));
        let ways = [format!("{HOST_V4}:8080"), format!("[{HOST_V6}]:8080")];
        for way in &ways {
            is_kept_out(&lab.client, Protocol::Tcp, way);
        }
        let chains = || inside(&lab.host, || lab.firewall.foreign_chains()).unwrap();
        assert!(chains().iter().all(|chain| chain.keeps("dhow0")), "{:?}", chains());
        pass(&lab, &["dhow0"]);
        assert!(!chains().iter().any(|chain| chain.keeps("dhow0")), "{:?}", chains());
        for way in &ways {
            assert_eq!(ask(&lab.client, Protocol::Tcp, way)[..6], *"server");
        }
        for to in ["192.0.2.10:80", "[2001:db8::a]:80"] {
            assert_eq!(ask(&server.endpoint.netns, Protocol::Tcp, to)[..6], *"client");
        }
        // What passes there is asked by our own tables all the same.
        is_kept_out(&lab.client, Protocol::Tcp, &format!("{}:80", server.v4()));
        is_kept_out(&lab.client, Protocol::Tcp, &format!("[{}]:80", server.v6()));
    }
}

#[test]
fn rules_are_as_many_as_bridges_and_where_they_belong() {
    let lab = Lab::new();
    let base = "table inet a { chain f { type filter hook forward priority 0; tcp dport 81 drop; reject; }; }";
    inside(&lab.host, || nft(base));
    let rule = |side: &str, bridge: &str| {
        format!("{side}ifname \"{bridge}\" counter packets 0 bytes 0 accept comment \"dhow\"")
            .replace("counter packets 0 bytes 0 ", "")
    };
    let of = |bridge| [rule("o", bridge), rule("i", bridge)];
    let expect = |between: Vec<String>| {
        let first = vec!["tcp dport 81 drop".to_owned()];
        assert_eq!(chain(&lab, "inet a f"), [first, between, vec!["reject".to_owned()]].concat());
    };
    let (zero, one) = (of("dhow0").to_vec(), of("br-1").to_vec());
    pass(&lab, &["dhow0"]);
    expect(zero.clone());
    pass(&lab, &["dhow0", "br-1"]);
    expect([zero.clone(), one.clone()].concat());
    // Those of another root, and an administrator's copy with something else in it, are left alone.
    let other = Names::of(&RootTag::of_path(b"/other"));
    inside(&lab.host, || {
        let firewall = open_firewall(&other, &lab.bridge);
        firewall.pass_others(&mut || Ok(vec!["other0".to_owned()])).unwrap();
    });
    inside(&lab.host, || {
        nft("insert rule inet a f iifname dhow0 tcp dport 82 counter accept comment \"dhow\"")
    });
    pass(&lab, &["br-1"]);
    let left = chain(&lab, "inet a f");
    assert_eq!(left.iter().filter(|rule| rule.contains("other0")).count(), 2, "{left:?}");
    assert_eq!(left.iter().filter(|rule| rule.contains("tcp dport 82")).count(), 1, "{left:?}");
    assert_eq!(left.iter().filter(|rule| one.contains(rule)).count(), 2, "{left:?}");
    assert!(!left.iter().any(|rule| zero.contains(rule)), "{left:?}");
    inside(&lab.host, || lab.firewall.leave_others()).unwrap();
    assert!(!chain(&lab, "inet a f").iter().any(|rule| one.contains(rule)));
}

/// A map gives verdicts, a count of connections ends rules, and a mark is more than a log.
#[test]
fn what_may_decide_stays_in_front() {
    let lab = Lab::new();
    let rules = "ct state vmap { invalid : drop, established : accept }; \
                 iifname . oifname vmap { \"guest\" . \"dhow0\" : drop }; \
                 tcp dport 81 meta mark set 7; ip saddr 192.0.2.10 ct count over 20 drop; \
                 iifname \"guest\" drop";
    let base = "type filter hook forward priority 0; policy drop";
    inside(&lab.host, || nft(&format!("table ip a {{ chain f {{ {base}; {rules}; }}; }}")));
    let theirs = chain(&lab, "ip a f");
    assert_eq!(theirs.len(), 5, "{theirs:?}");
    pass(&lab, &["dhow0"]);
    let all = chain(&lab, "ip a f");
    assert_eq!((&all[..5], all.len()), (&theirs[..], 7));
}

/// Between looking and changing, somebody else changes the same chain.
#[test]
fn a_chain_that_changes_meanwhile_is_looked_at_again() {
    let lab = Lab::new();
    let base = "table inet a { chain f { type filter hook forward priority 0; reject; }; }";
    inside(&lab.host, || {
        nft(base);
        let mut bridges = || {
            nft(&format!("delete table inet a\n{base}"));
            Ok(vec!["dhow0".to_owned()])
        };
        lab.firewall.pass_others(&mut bridges).unwrap();
    });
    assert_eq!(chain(&lab, "inet a f").len(), 3);
    let chains = inside(&lab.host, || lab.firewall.foreign_chains()).unwrap();
    assert_eq!(chains[0].change, Change::Anyone);
}

#[test]
fn nobody_is_asked_where_nothing_is_refused() {
    let lab = Lab::new();
    let base =
        "table inet a { chain f { type filter hook forward priority 0; tcp dport 81 drop; }; }";
    inside(&lab.host, || {
        nft(base);
        lab.firewall.pass_others(&mut || panic!("it is asked")).unwrap();
    });
}

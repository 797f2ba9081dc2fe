//! The language, one construct after the other. Every expected text is what the Docker CLI
//! prints for the same template over the same container.

use super::{Functions, MissingKey, Template, untyped};
use crate::inspect::typed;
use docker_api::json::{Tree, parse_reply};
use docker_api::types::containers::ContainerInspect;

const CONTAINER: &str = include_str!("tests/container.json");

/// The container as the structure that the client knows, and as it came.
fn container() -> (Tree, Tree) {
    let known: ContainerInspect = parse_reply(CONTAINER.as_bytes()).unwrap();
    let known = serde_json::to_vec(&known).unwrap();
    (Tree::parse(&known).unwrap(), Tree::parse(CONTAINER.as_bytes()).unwrap())
}

/// What `docker inspect -f` prints: over the structure, and if that fails over the plain JSON.
fn inspect(text: &str) -> String {
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(e) => return format!("parse: {e}"),
    };
    let (known, plain) = container();
    let (mut out, mode) = (String::new(), Functions::Data);
    if template.execute(&typed(&known), MissingKey::NoValue, mode, &mut out).is_ok() {
        return out;
    }
    let mut out = String::new();
    match template.execute(&untyped(&plain), MissingKey::Error, mode, &mut out) {
        Ok(()) => out,
        Err(e) => e.to_string(),
    }
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (text, want) in cases {
        assert_eq!(inspect(text), *want, "{text}");
    }
}

fn at(place: &str, message: &str) -> String {
    format!("template: :1:{place}: {message}")
}

#[test]
fn fields_maps_and_what_is_missing() {
    check(&[
        ("{{.Path}}", "sleep"),
        ("{{.State.Pid}}", "42"),
        ("{{.Config.Labels.a}}", "1"),
        ("{{.Config.Labels.zz}}", "<no value>"),
        ("{{index .Config.Labels \"zz\"}}", ""),
        ("{{.State.Health}}", "<nil>"),
        ("{{if .State.Health}}x{{else}}none{{end}}", "none"),
        ("{{.HostConfig.Binds}}|{{json .HostConfig.Binds}}", "[]|null"),
        ("{{len .HostConfig.Binds}}{{range .HostConfig.Binds}}x{{else}} none{{end}}", "0 none"),
        ("{{.HostConfig.MemorySwappiness}}", "<nil>"),
        ("{{.Config.Labels}}{{.Args}}", "map[a:1 b:2][1 2]"),
        ("{{.NetworkSettings.Ports}}", "map[80/tcp:[{0.0.0.0 8080}] 81/tcp:[]]"),
        ("{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}", "8080"),
        (
            "{{range $p, $c := .NetworkSettings.Ports}}{{$p}}:{{$c}};{{end}}",
            "80/tcp:[{0.0.0.0 8080}];81/tcp:[];",
        ),
        (
            "{{.State}}",
            "{running true false false false false 42 0  2026-11-21T22:22:47.224372180Z 0001-01-01T00:00:00Z <nil>}",
        ),
        ("{{(.State).Pid}} {{(index .Args 0)}}", "42 1"),
    ]);
}

#[test]
fn fields_that_no_structure_knows_are_read_from_the_plain_json() {
    check(&[
        ("{{.Zed.n}}", "<no value>"),
        ("{{.Zed.f}} {{.Zed.big}}", "1.5 100000000"),
        ("{{.Zed}}", "map[big:100000000 f:1.5 l:[] n:<nil> o:map[] s:t]"),
        ("{{range $.Zed}}{{.}},{{end}}", "100000000,1.5,[],<no value>,map[],t,"),
        ("{{eq .Zed.s \"t\"}}", "true"),
        ("{{.Foo}}", "template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\""),
        (
            "{{.State.Foo}}",
            "template: :1:8: executing \"\" at <.State.Foo>: map has no entry for key \"Foo\"",
        ),
        (
            "{{.Zed.q}}",
            "template: :1:6: executing \"\" at <.Zed.q>: map has no entry for key \"q\"",
        ),
        (
            "{{.Zed.n.x}}",
            "template: :1:6: executing \"\" at <.Zed.n.x>: nil pointer evaluating interface {}.x",
        ),
        (
            "{{.Args.foo}}",
            "template: :1:7: executing \"\" at <.Args.foo>: can't evaluate field foo in type interface {}",
        ),
        (
            "{{.Path \"a\"}}",
            "template: :1:2: executing \"\" at <.Path>: Path is not a method but has arguments",
        ),
        (
            "{{.Config.Labels.a \"x\"}}",
            "template: :1:9: executing \"\" at <.Config.Labels.a>: a is not a method but has arguments",
        ),
    ]);
}

#[test]
fn json_keeps_the_servers_order_and_escapes_no_html() {
    check(&[
        ("{{json .Config.Env}}", r#"["A=1","B=<&>"]"#),
        ("{{json .Config.Labels}}", r#"{"a":"1","b":"2"}"#),
        (
            "{{json .State}}",
            r#"{"Status":"running","Running":true,"Paused":false,"Restarting":false,"OOMKilled":false,"Dead":false,"Pid":42,"ExitCode":0,"Error":"","StartedAt":"2026-11-21T22:22:47.224372180Z","FinishedAt":"0001-01-01T00:00:00Z"}"#,
        ),
        ("{{json \"a\\n\\\"\"}}", r#""a\n\"""#),
        ("{{json .Zed}}", r#"{"big":100000000,"f":1.5,"l":[],"n":null,"o":{},"s":"t"}"#),
        ("{{json .State.Running}} {{json nil}} {{json 1.5}}", "true null 1.5"),
    ]);
}

#[test]
fn control_structures() {
    check(&[
        ("{{if .State.Paused}}p{{else if .State.Running}}r{{end}}", "r"),
        ("{{if 0}}a{{else}}b{{end}}{{if \"x\"}}c{{end}}", "bc"),
        ("{{with .State}}{{.Pid}}{{else}}n{{end}}", "42"),
        ("{{with $x := .State}}{{$x.Pid}}{{end}}", "42"),
        ("{{with .State.Error}}e{{else with .Path}}{{.}}{{end}}", "sleep"),
        ("{{with .State.Error}}e{{else}}{{.Path}}{{end}}", "sleep"),
        ("{{range $i, $x := .Args}}{{$i}}={{$x}},{{end}}", "0=1,1=2,"),
        ("{{range $x := .Args}}{{$x}}{{end}}", "12"),
        ("{{range 3}}a{{.}}{{end}}", "a0a1a2"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}{{$v}}{{end}}", "a1b2"),
        ("{{range .Args}}{{if eq . \"1\"}}{{continue}}{{end}}{{.}}{{break}}{{end}}", "2"),
        ("{{$k := 0}}{{range $k = .Args}}{{end}}{{$k}}", "2"),
        ("{{define \"T\"}}[{{.}}]{{end}}{{template \"T\" .Path}}", "[sleep]"),
        ("{{block \"B\" .Path}}<{{.}}>{{end}}", "<sleep>"),
        ("{{template \"T\"}}{{define \"T\"}}a{{with $}}b{{end}}{{end}}", "a"),
        ("{{$x := 1}}{{$x = 2}}{{$x}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{end}}{{$x}}", "1"),
        ("a {{- 1 -}} b{{/* c */}}{{- /* d */ -}} e", "a1be"),
    ]);
}

#[test]
fn literals() {
    check(&[
        ("{{1e3}} {{1e6}} {{0x10}} {{1_000}} {{-5}} {{+5}}", "1000 1e+06 16 1000 -5 5"),
        ("{{1234567.0}} {{1e20}} {{100000.0}} {{1e-5}}", "1.234567e+06 1e+20 100000 1e-05"),
        ("{{'a'}}{{'\\n'}}", "9710"),
        ("{{\"a\\tb\"}}{{`c\\d`}}", "a\tbc\\d"),
        ("{{true}} {{false}}", "true false"),
        ("{{print nil}}", "<nil>"),
    ]);
}

#[test]
fn functions_of_docker() {
    check(&[
        ("{{join .Args \",\"}}", "1,2"),
        ("{{split \"a,b\" \",\"}}{{len (split \"abc\" \"\")}}", "[a b]3"),
        ("{{upper \"ab\"}}{{lower \"CD\"}}{{title \"hello wor_ld-foo\"}}", "ABcdHello Wor_ld-Foo"),
        ("[{{pad \"a\" 1 2}}][{{pad \"\" 1 2}}]", "[ a  ][]"),
        ("{{truncate .Path 3}}{{truncate \"ab\" 5}}{{truncate \"héllo\" 2}}", "sleabh\u{fffd}"),
        ("{{.Path | upper | lower | len}}", "5"),
        ("{{println 1 \"a\"}}", "1 a\n"),
    ]);
}

#[test]
fn functions_of_go() {
    check(&[
        ("{{and 1 0}} {{or 0 \"x\"}} {{not 0}} {{and 1 2 3}} {{0 | or 0}}", "0 x true 3 0"),
        ("{{or true .Nope.nope}}", "true"),
        ("{{index .Args 1}}{{index \"abc\" 0}}{{index .Args}}", "297[1 2]"),
        (
            "{{slice .Path 1 3}}{{slice .Args 1}}{{slice .Path}}{{slice .Args 0 1 2}}",
            "le[2]sleep[1]",
        ),
        ("{{len .Args}}{{len \"abc\"}}{{len .Config.Labels}}", "232"),
        ("{{print 1 2 \"a\" \"b\" 3}}{{print .Args .Path}}", "1 2ab3[1 2]sleep"),
        ("{{html \"<a b='c'>\\\"&\"}}", "&lt;a b=&#39;c&#39;&gt;&#34;&amp;"),
        ("{{js \"a<'b\\n=é\"}}", "a\\u003C\\'b\\u000A\\u003Dé"),
        ("{{urlquery \"a b&c\" \"ä/?\"}}", "a+b%26c%C3%A4%2F%3F"),
        ("{{eq 1 2 3 1}} {{eq \"a\" \"b\"}} {{ne 1 2}} {{eq nil nil}}", "true false true true"),
        (
            "{{lt 1 2}} {{le 2 2}} {{gt 2 1}} {{ge 1 2}} {{lt \"a\" \"b\"}}",
            "true true true false true",
        ),
        ("{{eq .State.Pid \"a\"}}", "false"),
        ("{{html}}", ""),
    ]);
}

#[test]
fn printf_verbs_and_flags() {
    check(&[
        (
            "{{printf \"%d %s %v %q %x %5.2f|%-5d|%05d\" 3 \"a\" .Args \"q\" 255 1.5 3 4}}",
            "3 a [1 2] \"q\" ff  1.50|3    |00004",
        ),
        (
            "{{printf \"%T %T %T %T %T\" 1 \"a\" 1.5 .Args .Config.Labels}}",
            "int string float64 []string map[string]string",
        ),
        (
            "{{printf \"%#v\" .Args}} {{printf \"%#v\" .Config.Labels}} {{printf \"%#v\" \"a\"}} {{printf \"%#v\" 3}}",
            "[]string{\"1\", \"2\"} map[string]string{\"a\":\"1\", \"b\":\"2\"} \"a\" 3",
        ),
        (
            "{{printf \"%x %X %q %c %U %#U %b %o %#o %#x %O\" \"hi\" \"hi\" 65 65 65 65 5 8 8 255 8}}",
            "6869 6869 'A' A U+0041 U+0041 'A' 101 10 010 0xff 0o10",
        ),
        (
            "{{printf \"%6s|%-6s|%.2s|%06d|%+d|% d|%x\" \"ab\" \"ab\" \"abc\" -42 5 5 -255}}",
            "    ab|ab    |ab|-00042|+5| 5|-ff",
        ),
        ("{{printf \"%[2]d %[1]d %*d\" 1 2 5 3}}", "2 1  5"),
        (
            "{{printf \"%e %E %f %08.3f %+.2e\" 1234.5678 1.5 2.5 3.14159 12345.678}}",
            "1.234568e+03 1.500000E+00 2.500000 0003.142 +1.23e+04",
        ),
        (
            "{{printf \"%v %g %.3g %g %.4g\" 1234567.0 1234567.0 1234567.0 12345678.5 100000.0}}",
            "1.234567e+06 1.234567e+06 1.23e+06 1.23456785e+07 1e+05",
        ),
        (
            "{{printf \"%-10q|%10q|%#q|%+q\" \"a\" \"b\" \"c\" \"é\"}}",
            "\"a\"       |       \"b\"|`c`|\"\\u00e9\"",
        ),
        ("{{printf \"%5t|%-7t|\" true false}}", " true|false  |"),
        ("{{printf \"% x|%#x|% X\" \"abc\" \"abc\" \"abc\"}}", "61 62 63|0x616263|61 62 63"),
        ("{{printf \"%08b|%-8b|%3c|%-3c|\" 5 5 65 65}}", "00000101|101     |  A|A  |"),
        ("{{printf \"%.3d|%8.3d|%+.3d\" 5 5 5}}", "005|     005|+005"),
        ("{{printf \"%6.2f%%\" 12.345}} {{printf \"%.*f\" 2 3.14159}}", " 12.35% 3.14"),
        ("{{printf \"%v %v\" .State.Health .HostConfig.Binds}}", "<nil> []"),
        ("{{printf \"%s\" .Zed}}", "map[big:100000000 f:1.5 l:[] n:<nil> o:map[] s:t]"),
        ("{{.Path | printf \"%.3s\"}}", "sle"),
    ]);
}

#[test]
fn printf_says_what_does_not_fit() {
    check(&[
        (
            "{{printf \"%d\" \"x\"}} {{printf \"%s\"}} {{printf \"x\" 1}}",
            "%!d(string=x) %!s(MISSING) x%!(EXTRA int=1)",
        ),
        (
            "{{printf \"%!\" }} {{printf \"%z\" 1}} {{printf \"%d %d\" 1}}",
            "%!!(MISSING) %!z(int=1) 1 %!d(MISSING)",
        ),
        (
            "{{printf \"%t\" 1}} {{printf \"%p\" 3}} {{printf \"%\"}}",
            "%!t(int=1) %!p(int=3) %!(NOVERB)",
        ),
        (
            "{{printf \"%s %d\" .Args .Args}} {{printf \"%v\" nil}} {{printf \"%d\" nil}}",
            "[1 2] [%!d(string=1) %!d(string=2)] <nil> %!d(<nil>)",
        ),
        ("{{printf \"%[5]d\" 1}} {{printf \"%[x]d %d\" 1 2}}", "%!d(BADINDEX) %!d(BADINDEX) 1"),
    ]);
}

/// Templates, the place of their error, and the error.
const RUNNING: &[(&str, &str, &str)] = &[
    ("{{1 2}}", "2", "executing \"\" at <1>: can't give argument to non-function 1"),
    ("{{nil}}", "2", "executing \"\" at <nil>: nil is not a command"),
    ("{{(nil).foo}}", "3", "executing \"\" at <nil>: nil is not a command"),
    ("{{upper 3}}", "8", "executing \"\" at <3>: expected string; found 3"),
    ("{{truncate 3 3}}", "11", "executing \"\" at <3>: expected string; found 3"),
    ("{{pad \"a\" \"b\" 1}}", "10", "executing \"\" at <\"b\">: expected integer; found \"b\""),
    ("{{join 3 \",\"}}", "7", "executing \"\" at <3>: can't handle 3 for arg of type []string"),
    (
        "{{upper .State.Pid}}",
        "14",
        "executing \"\" at <.State.Pid>: wrong type for value; expected string; got json.Number",
    ),
    (
        "{{template \"a\"}}",
        "11",
        "executing \"\" at <{{template \"a\"}}>: template \"a\" not defined",
    ),
    ("{{range .Path}}{{end}}", "8", "executing \"\" at <.Path>: range can't iterate over sleep"),
    ("{{not}}", "2", "executing \"\" at <not>: wrong number of args for not: want 1 got 0"),
    ("{{not 1 2}}", "2", "executing \"\" at <not>: wrong number of args for not: want 1 got 2"),
    ("{{eq}}", "2", "executing \"\" at <eq>: wrong number of args for eq: want at least 1 got 0"),
    (
        "{{eq 1}}",
        "2",
        "executing \"\" at <eq 1>: error calling eq: missing argument for comparison",
    ),
    (
        "{{eq 1 1.0}}",
        "2",
        "executing \"\" at <eq 1 1.0>: error calling eq: incompatible types for comparison",
    ),
    (
        "{{lt true false}}",
        "2",
        "executing \"\" at <lt true false>: error calling lt: invalid type for comparison",
    ),
    (
        "{{lt nil 1}}",
        "2",
        "executing \"\" at <lt nil 1>: error calling lt: invalid type for comparison",
    ),
    (
        "{{eq .Args .Args}}",
        "2",
        "executing \"\" at <eq .Args .Args>: error calling eq: non-comparable type [1 2]: []interface {}",
    ),
    (
        "{{index .Args 2}}",
        "2",
        "executing \"\" at <index .Args 2>: error calling index: reflect: slice index out of range",
    ),
    (
        "{{index .Args 3}}",
        "2",
        "executing \"\" at <index .Args 3>: error calling index: index out of range: 3",
    ),
    (
        "{{index .Args \"a\"}}",
        "2",
        "executing \"\" at <index .Args \"a\">: error calling index: cannot index slice/array with type string",
    ),
    (
        "{{index .Config.Labels 3}}",
        "2",
        "executing \"\" at <index .Config.Labels 3>: error calling index: value has type int; should be string",
    ),
    (
        "{{index 3 1}}",
        "2",
        "executing \"\" at <index 3 1>: error calling index: can't index item of type int",
    ),
    (
        "{{index nil 1}}",
        "2",
        "executing \"\" at <index nil 1>: error calling index: index of untyped nil",
    ),
    (
        "{{slice .Path 3 1}}",
        "2",
        "executing \"\" at <slice .Path 3 1>: error calling slice: invalid slice index: 3 > 1",
    ),
    (
        "{{slice .Path 1 2 3}}",
        "2",
        "executing \"\" at <slice .Path 1 2 3>: error calling slice: cannot 3-index slice a string",
    ),
    (
        "{{slice .Args 1 9}}",
        "2",
        "executing \"\" at <slice .Args 1 9>: error calling slice: index out of range: 9",
    ),
    ("{{len 3}}", "2", "executing \"\" at <len 3>: error calling len: len of type int"),
    (
        "{{len .Zed.n}}",
        "2",
        "executing \"\" at <len .Zed.n>: error calling len: len of nil pointer",
    ),
    (
        "{{call .Path}}",
        "2",
        "executing \"\" at <call .Path>: error calling call: non-function .Path of type string",
    ),
    (
        "{{pad \"a\" -1 0}}",
        "2",
        "executing \"\" at <pad \"a\" -1 0>: error calling pad: strings: negative Repeat count",
    ),
    (
        "{{18446744073709551615}}",
        "2",
        "executing \"\" at <18446744073709551615>: 18446744073709551615 overflows int",
    ),
];

#[test]
fn errors_while_running_name_the_place() {
    for (text, place, message) in RUNNING {
        assert_eq!(inspect(text), at(place, message), "{text}");
    }
    assert_eq!(
        inspect("a\n  {{upper 3}}"),
        "template: :2:10: executing \"\" at <3>: expected string; found 3"
    );
}

#[test]
fn errors_while_parsing_name_the_line() {
    for (text, message) in [
        ("{{if .Foo", "unclosed action"),
        ("{{foo}}", "function \"foo\" not defined"),
        ("{{}}", "missing value for command"),
        ("{{if}}x{{end}}", "missing value for if"),
        ("{{|}}", "unexpected \"|\" in command"),
        ("{{1 | 2}}", "non executable command in pipeline stage 2"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{else}}", "unexpected {{else}}"),
        ("{{if 1}}", "unexpected EOF"),
        ("{{if 1}}{{else}}{{else}}{{end}}", "expected end; found {{else}}"),
        ("{{$x}}", "undefined variable \"$x\""),
        ("{{if $x := 1}}{{end}}{{$x}}", "undefined variable \"$x\""),
        ("{{\"abc", "unterminated quoted string"),
        ("{{`abc", "unterminated raw quoted string"),
        ("{{'a", "unterminated character constant"),
        ("{{/* a", "unclosed comment"),
        ("{{/* a */ }}", "comment ends before closing delimiter"),
        ("{{(1}}", "unclosed left paren"),
        ("{{1)}}", "unexpected right paren"),
        ("{{.Foo!}}", "bad character U+0021 '!'"),
        ("{{$a, $b := .Args}}", "too many declarations in command"),
        ("{{range $a, $b, $c := .Args}}{{end}}", "too many declarations in range"),
        ("{{range $a, 1}}{{end}}", "range can only initialize variables"),
        ("{{1a}}", "bad number syntax: \"1a\""),
        ("{{\"\\q\"}}", "invalid syntax"),
        ("{{define x}}{{end}}", "unexpected \"x\" in define clause"),
        (
            "{{define \"a\"}}x{{end}}{{define \"a\"}}y{{end}}",
            "template: multiple definition of template \"a\"",
        ),
        ("{{block \"a\"}}x{{end}}", "missing value for block clause"),
        ("{{template}}", "unexpected \"}}\" in template clause"),
        ("{{template x}}", "unexpected \"x\" in template clause"),
        ("{{99999999999999999999}}", "integer overflow: \"99999999999999999999\""),
        ("{{é}}", "function \"é\" not defined"),
        ("{{#}}", "unexpected \"#\" in command"),
        ("{{break}}", "{{break}} outside {{range}}"),
        ("{{range 1}}{{end}}{{continue}}", "{{continue}} outside {{range}}"),
        ("{{\"x\".Foo}}", "unexpected . after term \"\\\"x\\\"\""),
        ("{{nil.foo}}", "unexpected . after term \"nil\""),
        ("{{1.5.foo}}", "unexpected . after term \"1.5\""),
    ] {
        assert_eq!(inspect(text), format!("parse: template: :1: {message}"), "{text}");
    }
    assert_eq!(inspect("{{ .Id\n.Zed"), "parse: template: :2: unclosed action started at :1");
}

#[test]
fn depth_and_output_are_bounded() {
    let nested = format!("{{{{{}1{}}}}}", "(".repeat(5000), ")".repeat(5000));
    assert_eq!(inspect(&nested), "parse: template: :1: nested more than 100 deep");
    let open = "{{if 1}}".repeat(5000);
    assert_eq!(inspect(&open), "parse: template: :1: nested more than 100 deep");
    let endless = inspect("{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}");
    assert!(endless.ends_with("exceeded maximum template depth (400)"), "{endless}");
    let large = inspect("{{range 100000000}}{{printf \"%1000d\" .}}{{end}}");
    assert!(large.ends_with("output exceeds 64 MiB"), "{large}");
    let silent = inspect("{{range 9223372036854775807}}{{end}}");
    assert!(silent.ends_with("takes more than 1000000 steps"), "{silent}");
    let doubled =
        inspect("{{$x := \"aaaaaaaa\"}}{{range 40}}{{$x = printf \"%s%s\" $x $x}}{{end}}");
    assert!(doubled.ends_with("a text exceeds 64 MiB"), "{doubled}");
}

#[test]
fn fields_that_are_read_are_known_beforehand() {
    let template = Template::parse("{{if .A}}{{range (index .B 0).C}}{{end}}{{end}}").unwrap();
    for (field, read) in [("A", true), ("B", true), ("C", true), ("Size", false)] {
        assert_eq!(template.mentions(field), read, "{field}");
    }
}

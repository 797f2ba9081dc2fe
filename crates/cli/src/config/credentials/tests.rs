//! Helpers as they answer, files as users have them: who is asked for what, and what comes of it.

use super::*;
use model::Reference;

fn none(_: &HelperCall<'_>) -> Result<Spoken, HelperError> {
    Err(HelperError::Failed("not to be asked".to_owned()))
}

/// `NAME:USER:SECRET`, from which the helper's answer is made.
fn spoken(call: &HelperCall<'_>) -> Result<Spoken, HelperError> {
    let server = String::from_utf8_lossy(call.input);
    assert_eq!(call.verb, "get");
    Ok(match call.name {
        "knows" => Spoken::Answer(
            format!(r#"{{"ServerURL":"{server}","Username":"u","Secret":"{server}!"}}"#).into(),
        ),
        "token" => Spoken::Answer(br#"{"Username":"<token>","Secret":"t"}"#.to_vec()),
        "nothing" => Spoken::Refusal(b"credentials not found in native keychain\n".to_vec()),
        "locked" => Spoken::Refusal(b"the keychain is \x1b[1mlocked\n".to_vec()),
        "garbage" => Spoken::Answer(b"hello".to_vec()),
        "slow" => return Err(HelperError::Failed("it did not end within 60 s".to_owned())),
        _ => return Err(HelperError::Missing),
    })
}

fn ask(config: &str, image: &str, helper: CredentialHelper) -> Result<Option<AuthConfig>, String> {
    let config =
        Config { path: "/c.json".into(), ..super::super::parse(config.as_bytes()).unwrap() };
    let image: Reference = image.parse().unwrap();
    config.ask(key(image.domain()), None, helper)
}

#[test]
fn credentials_of_the_file_are_found_by_registry() {
    let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpiOmM="},"reg.io:5000":{"username":"u","password":"p"},"https://old.io/v1/":{"identitytoken":"t"}}}"#;
    let of = |image: &str| ask(text, image, none).unwrap();
    let hub = of("debian").unwrap();
    assert_eq!((hub.username.as_str(), hub.password.as_str()), ("a", "b:c"));
    assert_eq!(hub.serveraddress, HUB);
    assert_eq!(of("reg.io:5000/a").unwrap().username, "u");
    assert_eq!(of("old.io/a").unwrap().identitytoken, "t");
    assert!(of("other.io/a").is_none());
    assert!(ask(" \n", "debian", none).unwrap().is_none());
}

#[test]
fn a_helper_is_asked_for_the_registry_that_it_is_for() {
    let text = r#"{"auths":{"a.io":{"auth":"YTpi"},"b.io":{}},"credsStore":"nothing","credHelpers":{"b.io":"knows","docker.io":"token","a.io":"","c.io:5":"knows"}}"#;
    let of = |image: &str| ask(text, image, spoken).unwrap();
    // No helper for this one: the file.
    assert_eq!(of("a.io/x").unwrap().username, "a");
    let b = of("b.io/x").unwrap();
    assert_eq!((b.username.as_str(), b.password.as_str()), ("u", "b.io!"));
    assert_eq!(of("c.io:5/x").unwrap().password, "c.io:5!");
    let hub = of("debian").unwrap();
    assert_eq!((hub.identitytoken.as_str(), hub.username.as_str()), ("t", ""));
    assert!(of("d.io/x").is_none());
}

#[test]
fn the_store_for_all_is_asked_in_docker_hubs_old_name() {
    let hub = ask(r#"{"credsStore":"knows"}"#, "debian", spoken).unwrap().unwrap();
    assert_eq!(hub.password, "https://index.docker.io/v1/!");
}

#[test]
fn a_helper_that_fails_is_named_with_whoever_asked_for_it() {
    for (name, why) in [
        ("absent", "it is not in $PATH"),
        ("locked", "the keychain is [1mlocked"),
        ("slow", "it did not end within 60 s"),
        ("garbage", "its answer is no JSON: expected value at line 1 column 1"),
        ("../evil", "the name of a helper has no slash"),
    ] {
        let text = format!(r#"{{"credHelpers":{{"r.io":"{name}"}}}}"#);
        let error = ask(&text, "r.io/x", spoken).unwrap_err();
        let want = format!(
            "error getting credentials for r.io from docker-credential-{name}, which credHelpers in /c.json asks for: {why}"
        );
        assert_eq!(error, want);
    }
}

#[test]
fn the_environment_comes_first() {
    let config = super::super::parse(br#"{"credsStore":"knows"}"#).unwrap();
    let environment = |text: &str| Some(text.to_owned());
    let own = environment(r#"{"auths":{"r.io":{"auth":"YTpi"}}}"#);
    assert_eq!(config.ask("r.io", own.clone(), spoken).unwrap().unwrap().password, "b");
    assert_eq!(config.ask("s.io", own, spoken).unwrap().unwrap().password, "s.io!");
    assert!(config.ask("r.io", environment("{"), spoken).is_err());
}

#[test]
fn secrets_are_not_printed() {
    assert_eq!(format!("{:?}", Spoken::Answer(b"hunter2".to_vec())), "Answer");
}

//! `login`

use crate::argv::{Arity, Outcome, command};
use crate::config::credentials::{Kept, key, stored};
use crate::cx::{self, Cx};
use crate::error::Failure;
use crate::secret;
use docker_api::types::images::AuthConfig;
use model::reference::DEFAULT_DOMAIN;
use std::io::{BufRead as _, Read as _};
use std::process::ExitCode;

/// Passwords are no files.
const LONGEST: u64 = 64 << 10;

/// Authenticate to a registry
#[derive(clap::Args, Debug)]
pub(super) struct LoginArgs {
    /// Password or access token
    #[arg(short, long, value_name = "string")]
    password: Option<String>,
    /// Take the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// User name
    #[arg(short, long, value_name = "string")]
    username: Option<String>,
    server: Option<String>,
}

command!(LoginArgs, login, ["login"], "[OPTIONS] [SERVER]", Arity::AtMost(1));

async fn login(cx: &Cx, args: LoginArgs) -> Outcome {
    let given = given(cx, &args)?;
    let address = address(args.server.as_deref());
    let auth = match given {
        Given::All(username, password) => {
            AuthConfig { username, password, ..AuthConfig::default() }
        }
        Given::User(user) => match with_known(cx, &address, user.as_deref()).await? {
            Some(message) => return cx.line(&message).map(|()| ExitCode::SUCCESS),
            None => asked(cx, user)?,
        },
    };
    let mut auth = AuthConfig { serveraddress: address, ..auth };
    let answer = cx.client()?.registry_login(&auth).await?;
    if !answer.identity_token.is_empty() {
        auth.password = String::new();
        auth.identitytoken = answer.identity_token;
    }
    if let Kept::File(path) = cx.config.keep(&auth, cx.credential_helper).await? {
        cx.warn(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\n\
             Configure a credential helper to remove this warning.\n",
            path.display()
        ));
    }
    cx.line(&answer.status)?;
    Ok(ExitCode::SUCCESS)
}

/// What the command line says of who somebody is.
enum Given {
    All(String, String),
    /// The name, if there is one.
    User(Option<String>),
}

fn given(cx: &Cx, args: &LoginArgs) -> Result<Given, Failure> {
    let user = args.username.clone().filter(|user| !user.is_empty());
    match (&args.password, args.password_stdin, user) {
        (Some(_), true, _) => {
            Err(Failure::error("--password and --password-stdin are mutually exclusive"))
        }
        (None, true, None) => Err(Failure::error("Must provide --username with --password-stdin")),
        (None, true, Some(user)) => Ok(Given::All(user, from_stdin()?)),
        (Some(password), false, user) => {
            cx.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
            match user {
                Some(user) => Ok(Given::All(user, password.clone())),
                None => Err(Failure::error("Must provide --username with --password")),
            }
        }
        (None, false, user) => Ok(Given::User(user)),
    }
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().lock().take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(Failure::error(format!("the password has more than {LONGEST} bytes")));
    }
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// What credentials are kept under, and what a server is told.
pub(super) fn address(server: Option<&str>) -> String {
    let server = server.unwrap_or_default();
    let bare = server.split_once("://").map_or(server, |(_, rest)| rest);
    match bare.split('/').next().unwrap_or_default() {
        "" | DEFAULT_DOMAIN | "index.docker.io" => key(DEFAULT_DOMAIN).to_owned(),
        domain => domain.to_owned(),
    }
}

/// Tries what is kept already; `None` if that is nothing, or does not do any more.
async fn with_known(cx: &Cx, address: &str, user: Option<&str>) -> Result<Option<String>, Failure> {
    let known = stored(cx.config.identity()?.clone(), address.to_owned(), cx.credential_helper);
    let known = known.await?.filter(|known| {
        let has_secret = !known.password.is_empty() || !known.identitytoken.is_empty();
        has_secret && user.is_none_or(|user| user == known.username)
    });
    let Some(known) = known else { return Ok(None) };
    cx.line("Authenticating with existing credentials...")?;
    match cx.client()?.registry_login(&known).await {
        Ok(answer) => Ok(Some(answer.status)),
        Err(error) if cx::stdin_is_terminal() => {
            cx.warn(&format!("Login did not succeed, error: {error}"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn asked(cx: &Cx, user: Option<String>) -> Result<AuthConfig, Failure> {
    if !cx::stdin_is_terminal() {
        return Err(Failure::error("cannot perform an interactive login from a non TTY device"));
    }
    let username = match user {
        Some(user) => user,
        None => {
            cx.print("Username: ")?;
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line)?;
            line.trim().to_owned()
        }
    };
    if username.is_empty() {
        return Err(Failure::error("username is required"));
    }
    cx.print("Password: ")?;
    let password = secret::read_line()?;
    cx.line("")?;
    if password.is_empty() {
        return Err(Failure::error("password is required"));
    }
    Ok(AuthConfig { username, password, ..AuthConfig::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_has_one_address() {
        for (server, expected) in [
            (None, "https://index.docker.io/v1/"),
            (Some("docker.io"), "https://index.docker.io/v1/"),
            (Some("https://index.docker.io/v1/"), "https://index.docker.io/v1/"),
            (Some("r.io"), "r.io"),
            (Some("https://r.io:5000/v2/"), "r.io:5000"),
            (Some("localhost:5000"), "localhost:5000"),
        ] {
            assert_eq!(address(server), expected);
        }
    }
}

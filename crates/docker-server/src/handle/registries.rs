//! What is asked of registries beside images: who is let in, what is there under a name.

use docker_api::types::images::AuthConfig;
use docker_api::types::registries::{Authenticated, SearchResult};
use model::Reference;

use super::transfer::{auth, registry_auth};
use crate::call::Call;
use crate::error::HttpError;
use crate::filter;
use crate::raise;
use crate::reply::{self, Reply};

/// How many results a search has if nobody says.
const RESULTS: usize = 25;
/// How many it has at most, as in Docker.
const RESULTS_MAX: usize = 100;

/// `POST /auth`.
pub(super) async fn login(mut call: Call) -> Result<Reply, HttpError> {
    let wire: AuthConfig = call.json().await?.value;
    let domain = domain(&wire.serveraddress);
    let auth = registry_auth(wire);
    call.run(move |engine| engine.registry_login(&domain, auth)).await?;
    Ok(reply::json(&Authenticated {
        status: "Login Succeeded".to_owned(),
        identity_token: String::new(),
    }))
}

/// Clients name a registry by an address, and Docker Hub by one of its oldest.
fn domain(address: &str) -> String {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    match address.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        domain => domain.to_owned(),
    }
}

/// `GET /distribution/{name}/json`.
pub(super) async fn describe(call: &Call, name: &str) -> Result<Reply, HttpError> {
    let reference: Reference = name.parse()?;
    let auth = auth(call);
    let found = call.run(move |engine| engine.registry_describe(&reference, auth)).await?;
    Ok(reply::json(&raise::description(&found)))
}

/// `GET /images/search`.
pub(super) async fn search(call: &Call) -> Result<Reply, HttpError> {
    let term = call.query.get("term").unwrap_or_default().to_owned();
    if term.is_empty() {
        return Err(HttpError::bad_request("a term to search for is required"));
    }
    let limit = match call.query.number::<usize>("limit")? {
        None | Some(0) => RESULTS,
        Some(limit) if limit > RESULTS_MAX => {
            let told = format!("limit {limit} is outside the range of [1, {RESULTS_MAX}]");
            return Err(HttpError::bad_request(told));
        }
        Some(limit) => limit,
    };
    let wanted = filter::Search::parse(&call.query)?;
    let auth = auth(call);
    let found = call.run(move |engine| engine.registry_search(&term, limit, auth)).await?;
    let results = found.into_iter().filter(|result| wanted.fits(result)).map(raise::found);
    Ok(reply::json(&results.collect::<Vec<SearchResult>>()))
}

//! One file per command: the flags, what it does, its tests.

mod attach;
mod builder_prune;
mod checkpoint_create;
mod checkpoint_export;
mod checkpoint_import;
mod checkpoint_ls;
mod checkpoint_rm;
mod commit;
mod completion;
mod container_inspect;
mod container_prune;
mod context_create;
mod context_export;
mod context_import;
mod context_inspect;
mod context_ls;
mod context_rm;
mod context_show;
mod context_update;
mod context_use;
mod cp;
mod create;
mod diff;
mod doctor;
mod events;
mod exec;
mod exec_list;
mod export;
mod history;
mod image_inspect;
mod image_ls;
mod image_prune;
mod image_rm;
mod import;
mod info;
mod inspect;
mod kill;
mod load;
mod login;
mod logout;
mod logs;
mod network_connect;
mod network_create;
mod network_disconnect;
mod network_firewall;
mod network_graph;
mod network_inspect;
mod network_ls;
mod network_prune;
mod network_rm;
mod pause;
mod port;
mod port_audit;
mod prune;
mod ps;
mod pull;
mod push;
mod rename;
mod restart;
mod rm;
mod run;
mod save;
mod search;
pub(crate) mod serve;
mod start;
mod stats;
mod stop;
mod system_check;
mod system_df;
mod system_dial_stdio;
mod system_prune;
mod system_reset;
mod system_start;
mod tag;
mod top;
mod ui;
mod unpause;
mod update;
pub(crate) mod version;
mod volume_clone;
mod volume_create;
mod volume_export;
mod volume_import;
mod volume_inspect;
mod volume_ls;
mod volume_prune;
mod volume_rename;
mod volume_rm;
mod volume_update;
mod wait;

use crate::argv::{Command, Outcome};
use crate::cx::Cx;
use crate::error::{Failure, api_message};
use docker_api::{ApiError, Client};
use std::future::Future;
use std::process::ExitCode;

/// Groups, and what they are about.
pub(crate) const GROUPS: &[(&str, &str)] = &[
    ("builder", "Manage what builds leave"),
    ("checkpoint", "Manage checkpoints of containers"),
    ("container", "Manage containers"),
    ("context", "Manage contexts"),
    ("image", "Manage images"),
    ("network", "Manage networks"),
    ("system", "Manage dhow"),
    ("volume", "Manage volumes"),
];

/// All commands.
pub(crate) const ALL: &[&Command] = &[
    &attach::COMMAND,
    &builder_prune::COMMAND,
    &checkpoint_create::COMMAND,
    &checkpoint_export::COMMAND,
    &checkpoint_import::COMMAND,
    &checkpoint_ls::COMMAND,
    &checkpoint_rm::COMMAND,
    &commit::COMMAND,
    &completion::COMMAND,
    &container_inspect::COMMAND,
    &container_prune::COMMAND,
    &context_create::COMMAND,
    &context_export::COMMAND,
    &context_import::COMMAND,
    &context_inspect::COMMAND,
    &context_ls::COMMAND,
    &context_rm::COMMAND,
    &context_show::COMMAND,
    &context_update::COMMAND,
    &context_use::COMMAND,
    &cp::COMMAND,
    &create::COMMAND,
    &diff::COMMAND,
    &doctor::COMMAND,
    &events::COMMAND,
    &exec::COMMAND,
    &exec_list::COMMAND,
    &exec_list::kill::COMMAND,
    &export::COMMAND,
    &history::COMMAND,
    &image_inspect::COMMAND,
    &image_ls::COMMAND,
    &image_prune::COMMAND,
    &image_rm::COMMAND,
    &import::COMMAND,
    &info::COMMAND,
    &inspect::COMMAND,
    &kill::COMMAND,
    &load::COMMAND,
    &login::COMMAND,
    &logout::COMMAND,
    &logs::COMMAND,
    &network_connect::COMMAND,
    &network_create::COMMAND,
    &network_disconnect::COMMAND,
    &network_firewall::COMMAND,
    &network_graph::COMMAND,
    &network_inspect::COMMAND,
    &network_ls::COMMAND,
    &network_prune::COMMAND,
    &network_rm::COMMAND,
    &pause::COMMAND,
    &port::COMMAND,
    &port_audit::COMMAND,
    &ps::COMMAND,
    &pull::COMMAND,
    &push::COMMAND,
    &rename::COMMAND,
    &restart::COMMAND,
    &rm::COMMAND,
    &run::COMMAND,
    &save::COMMAND,
    &search::COMMAND,
    &serve::COMMAND,
    &start::COMMAND,
    &stats::COMMAND,
    &stop::COMMAND,
    &system_check::COMMAND,
    &system_df::COMMAND,
    &system_dial_stdio::COMMAND,
    &system_prune::COMMAND,
    &system_reset::COMMAND,
    &system_start::COMMAND,
    &tag::COMMAND,
    &top::COMMAND,
    &ui::COMMAND,
    &unpause::COMMAND,
    &update::COMMAND,
    &version::COMMAND,
    &volume_clone::COMMAND,
    &volume_create::COMMAND,
    &volume_export::COMMAND,
    &volume_import::COMMAND,
    &volume_inspect::COMMAND,
    &volume_ls::COMMAND,
    &volume_prune::COMMAND,
    &volume_rename::COMMAND,
    &volume_rm::COMMAND,
    &volume_update::COMMAND,
    &wait::COMMAND,
];

/// The command of that name: `stop`, `container stop`.
pub(crate) fn named(name: &str) -> Option<&'static Command> {
    ALL.iter().find(|command| command.names.contains(&name)).copied()
}

/// How many requests are under way at once.
const AT_ONCE: usize = 50;

/// Does the same to each of several things, at once, and tells of each in the order given: its
/// name as typed, or what went wrong. One failure does not keep the others.
pub(crate) async fn each<F, W>(cx: &Cx, names: &[String], work: F) -> Outcome
where
    F: Fn(Client, String) -> W,
    W: Future<Output = Result<(), ApiError>> + Send + 'static,
{
    each_but(cx, names, |_| false, work).await
}

/// The same, where some errors are told and are no failure.
pub(crate) async fn each_but<F, W>(
    cx: &Cx,
    names: &[String],
    tolerated: fn(&ApiError) -> bool,
    work: F,
) -> Outcome
where
    F: Fn(Client, String) -> W,
    W: Future<Output = Result<(), ApiError>> + Send + 'static,
{
    let client = cx.client()?;
    let mut failed = false;
    for some in names.chunks(AT_ONCE) {
        let running: Vec<_> = some
            .iter()
            .map(|name| (name, tokio::spawn(work(client.clone(), name.clone()))))
            .collect();
        for (name, task) in running {
            let done = task.await.map_err(|e| Failure::error(e.to_string()))?;
            failed |= tell(cx, name, done, tolerated)?;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Tells how it went; true for a failure.
fn tell(
    cx: &Cx,
    name: &str,
    done: Result<(), ApiError>,
    tolerated: fn(&ApiError) -> bool,
) -> Result<bool, Failure> {
    match done {
        Ok(()) => cx.line(name).map(|()| false),
        Err(e) => {
            cx.warn(&api_message(&e));
            Ok(!tolerated(&e))
        }
    }
}

/// The current time and zone, for whoever tells times.
pub(crate) fn clock() -> crate::format::Clock {
    crate::format::Clock { now: jiff::Timestamp::now(), zone: jiff::tz::TimeZone::system() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_commands_share_a_name() {
        let mut names: Vec<&str> = ALL.iter().flat_map(|command| command.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn every_definition_is_sound() {
        for command in ALL {
            (command.define)().debug_assert();
        }
    }

    #[test]
    fn both_spellings_find_the_same() {
        for (short, long) in [("ps", "container ls"), ("rmi", "image rm"), ("images", "image ls")] {
            assert_eq!(named(short).map(|c| c.usage), named(long).map(|c| c.usage));
        }
        assert!(named("nosuch").is_none());
    }
}

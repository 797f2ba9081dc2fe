//! `completion`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use std::process::ExitCode;

/// Print a script that completes command lines in a shell: bash, zsh or fish
///
/// bash:  source <(dhow completion bash)
/// zsh:   source <(dhow completion zsh)
/// fish:  dhow completion fish | source
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct CompletionArgs {
    shell: String,
}

command!(CompletionArgs, completion, ["completion"], "SHELL", Arity::Exactly(1));

async fn completion(cx: &Cx, args: CompletionArgs) -> Outcome {
    let script = match args.shell.as_str() {
        "bash" => include_str!("../complete/scripts/dhow.bash"),
        "zsh" => include_str!("../complete/scripts/dhow.zsh"),
        "fish" => include_str!("../complete/scripts/dhow.fish"),
        other => {
            let why = format!("no completion for {other:?}: the shell is bash, zsh or fish");
            return Err(Failure::error(why));
        }
    };
    cx.print(script)?;
    Ok(ExitCode::SUCCESS)
}

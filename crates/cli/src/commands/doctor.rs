//! `doctor`

use crate::Finding;
use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use std::process::ExitCode;

/// What a lack that keeps containers from running is called.
const MISSING: &str = "missing";

/// Show what this host gives and lacks, what that costs, and what mends it
///
/// Nothing is changed. Ends with 1 if something is missing without which no container runs.
#[derive(clap::Args, Debug)]
pub(super) struct DoctorArgs {
    /// Format: json
    #[arg(long, value_name = "string")]
    format: Option<String>,
}

command!(DoctorArgs, doctor, ["system doctor", "doctor"], "[OPTIONS]", Arity::Exactly(0));

async fn doctor(cx: &Cx, args: DoctorArgs) -> Outcome {
    let findings = cx.examine()?;
    match args.format.as_deref() {
        None => cx.print(&lines(&findings))?,
        Some("json") => {
            let text = serde_json::to_string_pretty(&findings);
            cx.line(&text.map_err(|error| Failure::error(error.to_string()))?)?;
        }
        Some(other) => {
            return Err(Failure::error(format!("--format {other:?}: there is json alone")));
        }
    }
    let is_missing = findings.iter().any(|one| one.verdict == MISSING);
    Ok(if is_missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn lines(findings: &[Finding]) -> String {
    let width = findings.iter().map(|one| one.about.len()).max().unwrap_or_default();
    let mut text = String::new();
    for Finding { about, verdict, found, cost, mend } in findings {
        text.push_str(&format!("{verdict:<8} {about:<width$}  {found}\n"));
        let more = [("costs", cost), ("mend", mend)];
        for (word, told) in more.into_iter().filter_map(|(word, told)| Some((word, told.as_ref()?)))
        {
            text.push_str(&format!("{:<8} {:<width$}  {word}: {told}\n", "", ""));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn what_is_lacking_is_explained() {
        let one = |about: &str, verdict: &str, cost: Option<&str>| Finding {
            about: about.to_owned(),
            verdict: verdict.to_owned(),
            found: "so".to_owned(),
            cost: cost.map(str::to_owned),
            mend: cost.map(|_| "do this".to_owned()),
        };
        let shown = lines(&[one("kernel", "ok", None), one("overlayfs", MISSING, Some("all"))]);
        expect![[r#"
            ok       kernel     so
            missing  overlayfs  so
                                costs: all
                                mend: do this
        "#]]
        .assert_eq(&shown);
    }
}

//! The options of ps: which columns, and a row for each process or each thread.
//!
//! Which processes are shown is not ps's to say: they are always the container's. What would
//! choose, sort or draw them is refused by name.

use super::columns::Column;

/// What ps is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// At least one.
    pub(super) columns: Vec<Column>,
    /// What has a row.
    pub(super) rows: Rows,
}

/// What has a row of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Rows {
    /// Each process.
    #[default]
    Processes,
    /// Each thread.
    Threads,
}

/// Why ps's options are refused, in its own words where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No column has this name.
    #[error("ps: error: unknown user-defined format specifier \"{0}\"")]
    UnknownColumn(String),
    /// A column without a title.
    #[error("ps: error: the column {0} needs a title")]
    NoTitle(String),
    /// Docker forbids other columns to pass for the one by which it finds processes.
    #[error("specifying \"{name}={title}\" is not allowed")]
    PassesForPid {
        /// The column.
        name: String,
        /// Its title.
        title: String,
    },
    /// `-o` and nothing.
    #[error("ps: error: format specification must follow {0}")]
    NoList(String),
    /// Two sets of columns.
    #[error("ps: error: conflicting format options")]
    Conflict,
    /// It is no option that is known here.
    #[error("ps: error: unsupported option: {0}")]
    Unsupported(String),
}

/// A set of columns that has a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    /// `-f`
    Full,
    /// `-F`
    ExtraFull,
    /// `-l`
    Long,
    /// `-j`
    Jobs,
    /// `u`
    BsdUser,
    /// `j`
    BsdJobs,
    /// `l`
    BsdLong,
}

/// The two ways to write ps's options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// `-ef`
    SysV,
    /// `aux`
    Bsd,
}

/// What has been read so far.
#[derive(Debug, Clone, Default)]
struct Read {
    sets: Vec<Set>,
    listed: Vec<Column>,
    is_bsd: bool,
    /// `-y`: resident size for flags and address.
    without_flags: bool,
    threads: Option<ThreadColumn>,
}

/// How threads are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ThreadColumn {
    /// `-L`
    Lwp,
    /// `-T`
    Spid,
    /// `H`
    Nothing,
}

impl Options {
    /// Reads ps's arguments, divided by spaces.
    ///
    /// # Errors
    /// They ask for what is not known.
    pub fn parse(arguments: &str) -> Result<Self, OptionError> {
        let mut words = arguments.split(' ').filter(|word| !word.is_empty());
        let mut read = Read::default();
        while let Some(word) = words.next() {
            read.word(word, &mut words)?;
        }
        let rows = if read.threads.is_some() { Rows::Threads } else { Rows::Processes };
        Ok(Self { columns: read.columns()?, rows })
    }
}

impl Read {
    fn word<'a>(
        &mut self,
        word: &'a str,
        rest: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), OptionError> {
        if let Some(long) = word.strip_prefix("--") {
            let (name, list) = long.split_once('=').unwrap_or((long, ""));
            if name != "format" {
                return Err(OptionError::Unsupported(word.to_owned()));
            }
            return self.list(list, rest, word);
        }
        let Some(letters) = word.strip_prefix('-') else {
            return self.letters(Style::Bsd, word, rest);
        };
        // `ps -aux` is `ps aux` to everybody but the standard.
        let flags = letters.split('o').next().unwrap_or_default();
        if flags.contains(['u', 'x']) {
            return self.letters(Style::Bsd, letters, rest);
        }
        self.letters(Style::SysV, letters, rest)
    }

    fn letters<'a>(
        &mut self,
        style: Style,
        letters: &'a str,
        rest: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), OptionError> {
        let spelled = |letter: char| match style {
            Style::SysV => format!("-{letter}"),
            Style::Bsd => letter.to_string(),
        };
        if letters.is_empty() {
            return Err(OptionError::Unsupported("-".to_owned()));
        }
        self.is_bsd |= style == Style::Bsd;
        for (at, letter) in letters.char_indices() {
            if letter == 'o' {
                return self.list(&letters[at + 1..], rest, &spelled('o'));
            }
            self.letter(style, letter).map_err(|()| OptionError::Unsupported(spelled(letter)))?;
        }
        Ok(())
    }

    fn letter(&mut self, style: Style, letter: char) -> Result<(), ()> {
        match (style, letter) {
            // Which processes: a container has no others. How wide: as wide as it is.
            (Style::SysV, 'A' | 'e' | 'a' | 'd' | 'w') | (Style::Bsd, 'a' | 'x' | 'g' | 'w') => {}
            (Style::SysV, 'f') => self.sets.push(Set::Full),
            (Style::SysV, 'F') => self.sets.push(Set::ExtraFull),
            (Style::SysV, 'l') => self.sets.push(Set::Long),
            (Style::SysV, 'j') => self.sets.push(Set::Jobs),
            (Style::SysV, 'y') => self.without_flags = true,
            (Style::SysV, 'L') => self.threads = Some(ThreadColumn::Lwp),
            (Style::SysV, 'T') => self.threads = Some(ThreadColumn::Spid),
            (Style::Bsd, 'u') => self.sets.push(Set::BsdUser),
            (Style::Bsd, 'j') => self.sets.push(Set::BsdJobs),
            (Style::Bsd, 'l') => self.sets.push(Set::BsdLong),
            (Style::Bsd, 'H') => self.threads = Some(ThreadColumn::Nothing),
            _ => return Err(()),
        }
        Ok(())
    }

    /// A list of columns: what is left of the word, or the next one.
    fn list<'a>(
        &mut self,
        list: &'a str,
        rest: &mut impl Iterator<Item = &'a str>,
        option: &str,
    ) -> Result<(), OptionError> {
        let none = || OptionError::NoList(option.to_owned());
        let list = if list.is_empty() { rest.next().ok_or_else(none)? } else { list };
        for wanted in list.split(',').filter(|wanted| !wanted.is_empty()) {
            self.listed.push(column(wanted)?);
        }
        if self.listed.is_empty() { Err(none()) } else { Ok(()) }
    }

    fn columns(self) -> Result<Vec<Column>, OptionError> {
        if self.listed.is_empty() {
            let names = self.names()?;
            return names.into_iter().map(|(name, title)| titled(name, title)).collect();
        }
        if self.sets.is_empty() { Ok(self.listed) } else { Err(OptionError::Conflict) }
    }

    /// The columns of a set, by name and by title where that is not their own.
    fn names(&self) -> Result<Vec<(&'static str, &'static str)>, OptionError> {
        let text = match self.sets.as_slice() {
            [] if self.is_bsd => "pid tname stat bsdtime args",
            [] => "pid tname time ucmd",
            [Set::Full] => "user=UID pid ppid c stime tname time cmd",
            [Set::ExtraFull] | [Set::Full, Set::ExtraFull] | [Set::ExtraFull, Set::Full] => {
                "user=UID pid ppid c sz rss psr stime tname time cmd"
            }
            [Set::Long] if self.without_flags => {
                "s uid pid ppid c opri ni rss sz wchan tname time ucmd"
            }
            [Set::Long] => "f s uid pid ppid c opri ni addr sz wchan tname time ucmd",
            [Set::Full, Set::Long] | [Set::Long, Set::Full] => {
                "f s user=UID pid ppid c opri ni addr sz wchan stime tname time cmd"
            }
            [Set::Jobs] => "pid pgid sid tname time ucmd",
            [Set::Full, Set::Jobs] | [Set::Jobs, Set::Full] => {
                "user=UID pid ppid pgid sid c stime tname time cmd"
            }
            [Set::BsdUser] => "user pid pcpu pmem vsz rss tname stat start_time bsdtime args",
            [Set::BsdJobs] => "ppid pid pgid sid tname tpgid stat uid bsdtime args",
            [Set::BsdLong] => "f uid pid ppid priority ni vsz rss wchan stat tname bsdtime args",
            _ => return Err(OptionError::Conflict),
        };
        let split = |word: &'static str| word.split_once('=').unwrap_or((word, ""));
        let mut names: Vec<_> = text.split(' ').map(split).collect();
        self.name_threads(&mut names);
        Ok(names)
    }

    fn name_threads(&self, names: &mut Vec<(&'static str, &'static str)>) {
        let after = |names: &[(&str, &str)], name: &str| {
            names.iter().position(|(known, _)| *known == name).map(|at| at + 1)
        };
        match self.threads {
            None | Some(ThreadColumn::Nothing) => {}
            Some(ThreadColumn::Spid) => {
                names.insert(after(names, "pid").unwrap_or(0), ("spid", ""));
            }
            Some(ThreadColumn::Lwp) => {
                let at = after(names, "ppid").or_else(|| after(names, "pid")).unwrap_or(0);
                names.insert(at, ("lwp", ""));
                if let Some(at) = after(names, "c") {
                    names.insert(at, ("nlwp", ""));
                }
            }
        }
    }
}

/// One of a list: `pid`, or `pid=TITLE`.
fn column(wanted: &str) -> Result<Column, OptionError> {
    let Some((name, title)) = wanted.split_once('=') else { return titled(wanted, "") };
    if title.is_empty() {
        return Err(OptionError::NoTitle(name.to_owned()));
    }
    if name != "pid" && title.starts_with("PID") {
        let (name, title) = (name.to_owned(), title.to_owned());
        return Err(OptionError::PassesForPid { name, title });
    }
    titled(name, title)
}

fn titled(name: &str, title: &str) -> Result<Column, OptionError> {
    let unknown = || OptionError::UnknownColumn(name.to_owned());
    let mut column = Column::named(name).ok_or_else(unknown)?;
    if !title.is_empty() {
        title.clone_into(&mut column.title);
    }
    Ok(column)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn titles(arguments: &str) -> String {
        match Options::parse(arguments) {
            Ok(options) => {
                let titles: Vec<_> =
                    options.columns.iter().map(|column| column.title.as_str()).collect();
                let titles = titles.join(" ");
                if options.rows == Rows::Threads { titles + " by thread" } else { titles }
            }
            Err(error) => error.to_string(),
        }
    }

    fn all(arguments: &[&str]) -> String {
        arguments.iter().map(|one| format!("{one}: {}\n", titles(one))).collect()
    }

    #[test]
    fn sets_of_columns_are_those_of_ps() {
        expect![[r#"
            -ef: UID PID PPID C STIME TTY TIME CMD
            -e: PID TTY TIME CMD
            aux: USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND
            -aux: USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND
            auxww: USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND
            ax: PID TTY STAT TIME COMMAND
            -F: UID PID PPID C SZ RSS PSR STIME TTY TIME CMD
            -el: F S UID PID PPID C PRI NI ADDR SZ WCHAN TTY TIME CMD
            -ely: S UID PID PPID C PRI NI RSS SZ WCHAN TTY TIME CMD
            -elf: F S UID PID PPID C PRI NI ADDR SZ WCHAN STIME TTY TIME CMD
            -j: PID PGID SID TTY TIME CMD
            axj: PPID PID PGID SID TTY TPGID STAT UID TIME COMMAND
            l: F UID PID PPID PRI NI VSZ RSS WCHAN STAT TTY TIME COMMAND
            -eLf: UID PID PPID LWP C NLWP STIME TTY TIME CMD by thread
            -efT: UID PID SPID PPID C STIME TTY TIME CMD by thread
            axH: PID TTY STAT TIME COMMAND by thread
        "#]]
        .assert_eq(&all(&[
            "-ef", "-e", "aux", "-aux", "auxww", "ax", "-F", "-el", "-ely", "-elf", "-j", "axj",
            "l", "-eLf", "-efT", "axH",
        ]));
    }

    #[test]
    fn lists_of_columns_may_be_anywhere_in_a_word() {
        expect![[r#"
            -o pid,comm: PID COMMAND
            -opid: PID
            -eo pid,user=OWNER: PID OWNER
            axo pid,args: PID COMMAND
            -axo pid,args: PID COMMAND
            -o pid -o ppid: PID PPID
            --format=pid,etime: PID ELAPSED
            --format pid: PID
            o  rss,pid=A,stat: RSS A STAT
        "#]]
        .assert_eq(&all(&[
            "-o pid,comm",
            "-opid",
            "-eo pid,user=OWNER",
            "axo pid,args",
            "-axo pid,args",
            "-o pid -o ppid",
            "--format=pid,etime",
            "--format pid",
            "o  rss,pid=A,stat",
        ]));
    }

    #[test]
    fn what_is_not_known_is_named() {
        expect![[r#"
            -o foo: ps: error: unknown user-defined format specifier "foo"
            -o: ps: error: format specification must follow -o
            -o ,: ps: error: format specification must follow -o
            -Q: ps: error: unsupported option: -Q
            -: ps: error: unsupported option: -
            Z: ps: error: unsupported option: Z
            auxf: ps: error: unsupported option: f
            -p 1: ps: error: unsupported option: -p
            1: ps: error: unsupported option: 1
            --sort=pid: ps: error: unsupported option: --sort=pid
            -ef -o pid: ps: error: conflicting format options
            -ef u: ps: error: conflicting format options
            -o pid=: ps: error: the column pid needs a title
            -o user=PID: specifying "user=PID" is not allowed
        "#]]
        .assert_eq(&all(&[
            "-o foo",
            "-o",
            "-o ,",
            "-Q",
            "-",
            "Z",
            "auxf",
            "-p 1",
            "1",
            "--sort=pid",
            "-ef -o pid",
            "-ef u",
            "-o pid=",
            "-o user=PID",
        ]));
    }
}

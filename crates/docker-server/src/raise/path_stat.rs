//! What is at a path of a container, with Go's bits of a mode.

use docker_api::types::containers::PathStat as Wire;
use engine::view::PathStat;

/// Kinds in a mode of `stat(2)`, and in one of Go.
const KINDS: [(u32, u32); 6] = [
    (0o040_000, 1 << 31),
    (0o120_000, 1 << 27),
    (0o060_000, 1 << 26),
    (0o020_000, 1 << 26 | 1 << 21),
    (0o010_000, 1 << 25),
    (0o140_000, 1 << 24),
];

/// Special permissions in a mode of `stat(2)`, and in one of Go.
const SPECIAL: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];

pub(crate) fn path_stat(stat: &PathStat) -> Wire {
    let target = stat.link_target.as_ref();
    Wire {
        name: stat.name.clone(),
        size: stat.size,
        mode: go_mode(stat.mode),
        mtime: super::time(stat.modified),
        link_target: target.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
    }
}

fn go_mode(mode: u32) -> u32 {
    let kind = KINDS.iter().find(|(kind, _)| mode & 0o170_000 == *kind).map_or(0, |(_, go)| *go);
    let special = SPECIAL.iter().filter(|(bit, _)| mode & bit != 0).map(|(_, go)| go).sum::<u32>();
    kind | special | mode & 0o777
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        // As Docker 20.10 showed them.
        assert_eq!(go_mode(0o104_755), 8_389_101);
        assert_eq!(go_mode(0o042_750), 2_151_678_440);
        assert_eq!(go_mode(0o120_777), 134_218_239);
        assert_eq!(go_mode(0o041_777), 2_148_532_735);
        assert_eq!(go_mode(0o020_666), 69_206_454);
    }
}

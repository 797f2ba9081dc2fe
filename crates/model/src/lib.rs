//! Nouns without I/O: ids, references, ports, mounts, the container specification, and their text syntax.

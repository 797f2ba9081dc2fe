//! The verbs: create, start, stop, exec, wait, logs, images, networks, volumes, events. A file per verb.

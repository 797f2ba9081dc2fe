//! `volume ls`.

use crate::human;
use crate::table::{Column, List, Named, Row, label_cell, natural};
use docker_api::types::volumes::Volume;

/// The formats with a name.
pub(crate) const NAMED: Named<'static> =
    Named { table: "{{.Driver}}\t{{.Name}}", raw: Some("name: {{.Name}}\ndriver: {{.Driver}}\n") };

/// The same where sizes are asked for.
pub(crate) const NAMED_WITH_SIZE: Named<'static> = Named {
    table: "{{.Driver}}\t{{.Name}}\t{{.Size}}",
    raw: Some("name: {{.Name}}\ndriver: {{.Driver}}\nsize: {{.Size}}\n"),
};

const COLUMNS: &[Column] = &[
    ("Name", "VOLUME NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
    ("Group", "GROUP"),
    ("Availability", "AVAILABILITY"),
    ("Status", "STATUS"),
];

/// The list for these volumes, by name.
pub(crate) fn list(mut volumes: Vec<Volume>) -> List<'static> {
    volumes.sort_by(|a, b| natural(&a.name, &b.name));
    let rows = volumes.into_iter().map(row).collect();
    List { columns: COLUMNS, type_name: "*formatter.volumeContext", rows }
}

fn row(volume: Volume) -> Row {
    let unknown = || "N/A".to_owned();
    let labels = volume.labels.unwrap_or_default();
    let (links, size) = match volume.usage_data {
        Some(usage) if usage.size < 0 => (usage.ref_count.to_string(), unknown()),
        Some(usage) => {
            (usage.ref_count.to_string(), human::progress_size(human::float(usage.size)))
        }
        None => (unknown(), unknown()),
    };
    Row {
        fields: vec![
            ("Name", volume.name),
            ("Driver", volume.driver),
            ("Scope", volume.scope),
            ("Mountpoint", volume.mountpoint),
            ("Labels", label_cell(&labels)),
            ("Links", links),
            ("Size", size),
            // These three are of volumes of a cluster, which there are none of.
            ("Group", unknown()),
            ("Availability", unknown()),
            ("Status", unknown()),
        ],
        labels,
    }
}

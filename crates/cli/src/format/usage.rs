//! `system df`: a line for each kind, or with `-v` tables of all that there is.

use super::containers::{self, Cut};
use super::{Clock, api_time, images, volumes};
use crate::error::Failure;
use crate::human;
use crate::table::{Column, Format, List, Named, Row, short_id};
use crate::template::{Elem, List as Values, Method, Origin, Struct, Value};
use docker_api::types::containers::ContainerSummary;
use docker_api::types::usage::{CacheRecord, DiskUsage};
use jiff::Timestamp;
use std::rc::Rc;

/// The formats with a name.
pub(crate) const NAMED: Named<'static> = Named {
    table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    raw: Some(
        "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: {{.Reclaimable}}\n",
    ),
};

const COLUMNS: &[Column] = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

const IMAGES: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";
const VOLUMES: &str = "table {{.Name}}\t{{.Links}}\t{{.Size}}";
const CACHE: &str = "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}";

const CACHE_COLUMNS: &[Column] = &[
    ("ID", "CACHE ID"),
    ("Parent", "PARENT"),
    ("CacheType", "CACHE TYPE"),
    ("Description", "DESCRIPTION"),
    ("InUse", "IN USE"),
    ("Shared", "SHARED"),
    ("Size", "SIZE"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("LastUsedAt", "LAST USED AT"),
    ("LastUsedSince", "LAST USED"),
    ("UsageCount", "USAGE"),
];

/// How many things of a kind there are, and what they take. A size of -1 was not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: usize,
    active: usize,
    bytes: i64,
    reclaimable: i64,
}

impl Sum {
    fn add(&mut self, active: Activity, bytes: i64) {
        let bytes = bytes.max(0);
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        match active {
            Activity::InUse => self.active += 1,
            Activity::Idle => self.reclaimable = self.reclaimable.saturating_add(bytes),
        }
    }

    fn row(self, kind: &str, share: Share) -> Row {
        let reclaimable = size(self.reclaimable);
        let reclaimable = match self.reclaimable.saturating_mul(100).checked_div(self.bytes) {
            Some(percent) if share == Share::Told => format!("{reclaimable} ({percent}%)"),
            Some(_) | None => reclaimable,
        };
        Row::new(vec![
            ("Type", kind.to_owned()),
            ("TotalCount", self.count.to_string()),
            ("Active", self.active.to_string()),
            ("Size", size(self.bytes)),
            ("Reclaimable", reclaimable),
        ])
    }
}

/// Whether something is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    InUse,
    Idle,
}

impl Activity {
    fn in_use(is: bool) -> Self {
        if is { Self::InUse } else { Self::Idle }
    }
}

/// Whether a line says what part could be reclaimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    Told,
    Left,
}

fn size(bytes: i64) -> String {
    human::progress_size(human::float(bytes))
}

/// The list of the kinds.
pub(crate) fn summary(usage: &DiskUsage) -> List<'static> {
    let rows = vec![
        image_sum(usage).row("Images", Share::Told),
        container_sum(usage).row("Containers", Share::Told),
        volume_sum(usage).row("Local Volumes", Share::Told),
        cache_sum(usage).row("Build Cache", Share::Left),
    ];
    List { columns: COLUMNS, type_name: "*formatter.diskUsageImagesContext", rows }
}

/// Layers are counted once. What an image in use has for itself stays; all else would go with the
/// images that nothing uses.
fn image_sum(usage: &DiskUsage) -> Sum {
    let mut sum = Sum { bytes: usage.layers_size, ..Sum::default() };
    let mut used = 0;
    for image in usage.images.iter().flatten() {
        sum.count += 1;
        if image.containers > 0 {
            sum.active += 1;
        }
        if image.containers != 0 && image.size != -1 && image.shared_size != -1 {
            used += image.size - image.shared_size;
        }
    }
    sum.reclaimable = sum.bytes - used;
    sum
}

/// With the logs of those that were removed: a prune of containers removes them as well.
fn container_sum(usage: &DiskUsage) -> Sum {
    let logs = previous_logs(usage);
    let mut sum = Sum { bytes: logs, reclaimable: logs, ..Sum::default() };
    for container in usage.containers.iter().flatten() {
        let active = matches!(container.state.as_str(), "running" | "paused" | "restarting");
        sum.add(Activity::in_use(active), container.size_rw.unwrap_or(0));
    }
    sum
}

fn previous_logs(usage: &DiskUsage) -> i64 {
    usage.dhow.as_ref().map_or(0, |own| own.previous_logs)
}

fn volume_sum(usage: &DiskUsage) -> Sum {
    let mut sum = Sum::default();
    for volume in usage.volumes.iter().flatten() {
        let (links, bytes) = match &volume.usage_data {
            Some(usage) => (usage.ref_count, usage.size),
            None => (0, 0),
        };
        sum.add(Activity::in_use(links > 0), bytes);
    }
    sum
}

/// What is shared with an image is counted there.
fn cache_sum(usage: &DiskUsage) -> Sum {
    let mut sum = Sum::default();
    for record in usage.build_cache.iter().flatten() {
        let bytes = if record.shared { 0 } else { record.size };
        sum.add(Activity::in_use(record.in_use), bytes);
    }
    sum
}

/// The tables of `-v`.
pub(crate) fn sections(usage: &DiskUsage, clock: &Clock) -> Result<String, Failure> {
    let lists = |kind: &str, format: &str, make: &dyn Fn(&Format) -> List<'static>| {
        let format = Format::parse(format, NAMED)?;
        let table = format.render(make(&format))?;
        Ok::<_, Failure>(format!("{kind}\n\n{table}"))
    };
    let cache = format!("Build cache usage: {}", size(cache_sum(usage).bytes));
    let logs = match previous_logs(usage) {
        0 => String::new(),
        bytes => format!("\nLogs of removed containers: {}\n", size(bytes)),
    };
    let parts = [
        lists("Images space usage:", IMAGES, &|format| {
            image_list(usage, Cut::Short, format, clock)
        })?,
        lists("Containers space usage:", CONTAINERS, &|format| {
            container_list(usage, Cut::Short, format, clock)
        })? + &logs,
        lists("Local Volumes space usage:", VOLUMES, &|_| volume_list(usage))?,
        lists(&cache, CACHE, &|_| cache_list(usage, Cut::Short, clock))?,
    ];
    Ok(parts.join("\n"))
}

/// What a template of `-v` runs over: lists of all that there is, uncut.
pub(crate) fn everything(usage: &DiskUsage, clock: &Clock) -> Value {
    // Whatever the template shows, all fields are there to be shown.
    let Ok(all) = Format::parse("json", NAMED) else { return Value::Null };
    let lists = [
        ("Images", image_list(usage, Cut::Whole, &all, clock)),
        ("Containers", container_list(usage, Cut::Whole, &all, clock)),
        ("Volumes", volume_list(usage)),
        ("BuildCache", cache_list(usage, Cut::Whole, clock)),
    ];
    let field = |(name, list): (&str, List<'_>)| {
        let items = list.rows.into_iter().map(|row| row.into_value(list.type_name)).collect();
        (name.to_owned(), Value::List(Rc::new(Values { items, elem: Elem::Struct })))
    };
    Value::Struct(Rc::new(Struct {
        type_name: "*formatter.diskUsageContext",
        fields: lists.into_iter().map(field).collect(),
        omitted: Vec::new(),
        method: Method::None,
        origin: Origin::Row,
    }))
}

fn image_list(usage: &DiskUsage, cut: Cut, format: &Format, clock: &Clock) -> List<'static> {
    let images = usage.images.as_deref().unwrap_or_default();
    images::one_each(images, cut, format, clock)
}

/// What is below a container is the image's.
fn container_list(usage: &DiskUsage, cut: Cut, format: &Format, clock: &Clock) -> List<'static> {
    let own =
        |container: &ContainerSummary| ContainerSummary { size_root_fs: None, ..container.clone() };
    let all: Vec<_> = usage.containers.iter().flatten().map(own).collect();
    containers::list(&all, cut, format, clock)
}

fn volume_list(usage: &DiskUsage) -> List<'static> {
    volumes::list(usage.volumes.clone().unwrap_or_default())
}

fn cache_list(usage: &DiskUsage, cut: Cut, clock: &Clock) -> List<'static> {
    let rows = usage.build_cache.iter().flatten().map(|one| cache_row(one, cut, clock)).collect();
    List { columns: CACHE_COLUMNS, type_name: "*formatter.buildCacheContext", rows }
}

fn cache_row(record: &CacheRecord, cut: Cut, clock: &Clock) -> Row {
    let since = |text: &str| {
        let at = text.parse::<Timestamp>().ok();
        at.map(|at| clock.ago(at.as_second())).unwrap_or_default()
    };
    let used = record.last_used_at.as_deref().unwrap_or_default();
    let id = if cut == Cut::Short { short_id(&record.id) } else { &record.id };
    Row::new(vec![
        ("ID", if record.in_use { format!("{id}*") } else { id.to_owned() }),
        ("Parent", record.parents.as_deref().unwrap_or_default().join(", ")),
        ("CacheType", record.kind.clone()),
        ("Description", record.description.clone()),
        ("InUse", record.in_use.to_string()),
        ("Shared", record.shared.to_string()),
        ("Size", size(record.size)),
        ("CreatedAt", api_time(&record.created_at)),
        ("CreatedSince", since(&record.created_at)),
        ("LastUsedAt", api_time(used)),
        ("LastUsedSince", since(used)),
        ("UsageCount", record.usage_count.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// What Docker told of two images of which one is the base of the other, three containers and
    /// three volumes.
    fn used() -> DiskUsage {
        let created = super::super::tests::clock().now.as_second() - 7200;
        let text = format!(
            r#"{{"LayersSize":1985305,"Images":[{{"Containers":0,"Created":{created},"Id":"sha256:52986f284cfcc0d3c5b9","RepoTags":["other:1"],"SharedSize":1982305,"Size":1985305}},
            {{"Containers":3,"Created":{created},"Id":"sha256:f075a0187261d846cce7","RepoTags":["busybox:latest","b:1"],"SharedSize":1982305,"Size":1982305}}],
            "Containers":[{{"Id":"0238e829d5c518377af5","Names":["/c3"],"Image":"busybox","Command":"dd if=/dev/zero of=/z bs=1000 count=3","Created":{created},"SizeRw":3000,"SizeRootFs":1985305,"State":"exited","Status":"Exited (0) 2 hours ago"}},
            {{"Id":"4d69b33d2667bc8f8a2a","Names":["/c2"],"Image":"busybox","Command":"sleep 1000","Created":{created},"SizeRw":1000,"SizeRootFs":1982305,"State":"running","Status":"Up 2 hours"}}],
            "Volumes":[{{"Name":"vol2","Driver":"local","UsageData":{{"RefCount":0,"Size":500}}}},{{"Name":"vol1","Driver":"local","UsageData":{{"RefCount":1,"Size":1500}}}},{{"Name":"vol3","UsageData":{{"RefCount":0,"Size":-1}}}}],
            "BuildCache":null}}"#
        );
        docker_api::json::parse_reply(text.as_bytes()).unwrap()
    }

    fn check(format: &str, want: Expect) {
        let Ok(format) = Format::parse(format, NAMED) else { panic!("{format}") };
        let shown = format.render(summary(&used()));
        want.assert_eq(&shown.unwrap_or_else(|e| e.message.unwrap_or_default()));
    }

    #[test]
    fn a_line_for_each_kind() {
        check(
            "",
            expect![[r#"
                TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE
                Images          2         1         1.985MB   1.985MB (100%)
                Containers      2         1         4kB       3kB (75%)
                Local Volumes   3         1         2kB       500B (25%)
                Build Cache     0         0         0B        0B
            "#]],
        );
        check(
            "json",
            expect![[r#"
                {"Active":"1","Reclaimable":"1.985MB (100%)","Size":"1.985MB","TotalCount":"2","Type":"Images"}
                {"Active":"1","Reclaimable":"3kB (75%)","Size":"4kB","TotalCount":"2","Type":"Containers"}
                {"Active":"1","Reclaimable":"500B (25%)","Size":"2kB","TotalCount":"3","Type":"Local Volumes"}
                {"Active":"0","Reclaimable":"0B","Size":"0B","TotalCount":"0","Type":"Build Cache"}
            "#]],
        );
    }

    #[test]
    fn tables_of_all() {
        let Ok(shown) = sections(&used(), &super::super::tests::clock()) else { panic!() };
        expect![[r#"
            Images space usage:

            REPOSITORY   TAG       IMAGE ID       CREATED       SIZE      SHARED SIZE   UNIQUE SIZE   CONTAINERS
            other        1         52986f284cfc   2 hours ago   1.99MB    1.982MB       3kB           0
            busybox      latest    f075a0187261   2 hours ago   1.98MB    1.982MB       0B            3

            Containers space usage:

            CONTAINER ID   IMAGE     COMMAND                  LOCAL VOLUMES   SIZE      CREATED       STATUS                   NAMES
            0238e829d5c5   busybox   "dd if=/dev/zero of=…"   0               3kB       2 hours ago   Exited (0) 2 hours ago   c3
            4d69b33d2667   busybox   "sleep 1000"             0               1kB       2 hours ago   Up 2 hours               c2

            Local Volumes space usage:

            VOLUME NAME   LINKS     SIZE
            vol1          1         1.5kB
            vol2          0         500B
            vol3          0         N/A

            Build cache usage: 0B

            CACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn logs_of_removed_containers_are_theirs() {
        let own = docker_api::types::usage::OwnUsage { previous_logs: 500 };
        let usage = DiskUsage { dhow: Some(own), ..used() };
        let sum = container_sum(&usage);
        assert_eq!((sum.count, sum.bytes, sum.reclaimable), (2, 4500, 3500));
        let Ok(shown) = sections(&usage, &super::super::tests::clock()) else { panic!() };
        let told = "c2\n\nLogs of removed containers: 500B\n\nLocal Volumes";
        assert!(shown.contains(told), "{shown}");
    }

    #[test]
    fn templates_run_over_all() {
        let check = |format: &str, want: Expect| {
            let Ok(format) = Format::parse(format, NAMED) else { panic!("{format}") };
            let shown = format.render_value(&everything(&used(), &super::super::tests::clock()));
            want.assert_eq(&shown.unwrap_or_else(|e| e.message.unwrap_or_default()));
        };
        check(
            "{{range .Images}}{{.Repository}} {{.UniqueSize}},{{end}}{{len .Containers}}",
            expect!["other 3kB,busybox 0B,2"],
        );
        check("{{.BuildCache}}{{json .BuildCache}}", expect!["[][]"]);
        check(
            "{{.Type}}",
            expect![[
                r#"failed to execute template: template: :1:2: executing "" at <.Type>: can't evaluate field Type in type *formatter.diskUsageContext"#
            ]],
        );
    }
}

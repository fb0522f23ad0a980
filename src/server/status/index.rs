//! The list: what is broken, in groups, and of one group its incidents.

use jiff::Timestamp;
use maud::{Markup, html};

use super::strip::strip;
use super::{Failure, address, ago, brief_name, count, page, sentence, severity, span, thousands};
use crate::diagnosis::{Finding, Severity};
use crate::incidents::Counts;
use crate::redact::clean;
use crate::server::Shown;
use crate::server::page::Wanted;
use crate::server::query::{
    self, Asked, Bucket, Filter, Group, List, Overview, Resolved, Sort, Trend, Values,
};

/// Groups, and incidents of one group, on a page.
const GROUPS: usize = 50;
const INCIDENTS: usize = 100;
/// Resolved incidents that are shown.
const RESOLVED: usize = 10;
/// Workloads that are named where what is shared is another thing.
const WORKLOADS: usize = 3;

/// The list that is asked for.
pub(super) fn list(shown: &Shown, asked: &Asked) -> Result<String, Failure> {
    let (filter, sort) = (asked.filter()?, asked.sort()?);
    let now = (shown.clock)();
    let one_group = !asked.group.is_empty();
    let pages = |of_groups: bool, limit: usize| Wanted {
        after: asked.after.clone().filter(|_| of_groups != one_group),
        limit: Some(asked.limit.unwrap_or(limit)),
        ..asked.page()
    };
    let overview = Overview::new(shown);
    let groups = query::groups(&overview, &filter, sort, &pages(true, GROUPS))?;
    let incidents = match one_group {
        true => Some(query::incidents(&overview, &filter, sort, &pages(false, INCIDENTS))?),
        false => None,
    };
    let history = query::history(shown, &Wanted { limit: Some(1), ..Wanted::default() })?;
    let next = incidents.as_ref().map_or(&groups.next, |list| &list.next);
    let total = groups.counts.total();
    let main = html! {
        main.page #main data-open=(total) {
            h1.unseen { "Open incidents" }
            (tiles(asked, groups.counts))
            (form(asked, sort, overview.values()))
            div.columns {
                section aria-labelledby="list" {
                    @if one_group {
                        p.crumbs { a href=(address("./", asked, |a| a.group.clear())) data-stays { "All groups" } }
                    }
                    div.line {
                        h2 #list { "What is broken" }
                        p { (count(groups.total, "group")) ", " (count(total, "incident")) }
                    }
                    ol.groups #groups {
                        @for g in &groups.items { (group(g, asked, incidents.as_ref(), now)) }
                    }
                    @if groups.items.is_empty() { (nothing(shown, &overview, &filter, asked)) }
                    (pages_links(asked, next.as_deref()))
                }
                (beside(&overview, &filter, asked, &history.buckets, now))
            }
        }
    };
    let title = format!("{} open", thousands(total));
    Ok(page(shown, "./", &title, &main).into_string())
}

/// The page of a list that cannot be shown. The form stays, so that what was typed can be corrected.
pub(super) fn refused(shown: &Shown, asked: &Asked, why: &Failure) -> String {
    let overview = Overview::new(shown);
    let main = html! {
        main.page #main {
            h1.unseen { "Open incidents" }
            (form(asked, asked.sort().unwrap_or(Sort::Severity), overview.values()))
            p.card.none role="alert" { (clean(&why.to_string())) ". " a href="./" data-stays { "Show all" } }
        }
    };
    page(shown, "./", "Not shown", &main).into_string()
}

/// How many there are by severity; each is a filter.
fn tiles(asked: &Asked, counts: Counts) -> Markup {
    let severities = [
        (Severity::Critical, counts.critical),
        (Severity::Warning, counts.warning),
        (Severity::Info, counts.info),
    ];
    html! {
        ul.counts {
            @for (severity, number) in severities {
                @let word = severity.as_str();
                @let chosen = asked.severity == word;
                @let wanted = if chosen { "" } else { word };
                li {
                    a.count.some[number > 0].chosen[chosen].(word) data-stays
                        href=(address("./", asked, |a| a.severity = wanted.to_owned())) {
                        b { (thousands(number)) } " " (word)
                    }
                }
            }
            li { span.count { b { (thousands(counts.muted)) } " muted" } }
        }
    }
}

fn form(asked: &Asked, sort: Sort, values: &Values) -> Markup {
    let fields = [
        ("Namespace", "namespace", &asked.namespace, &values.namespaces),
        ("Reason", "reason", &asked.reason, &values.reasons),
        ("Owner", "owner", &asked.owner, &values.owners),
        ("Node", "node", &asked.node, &values.nodes),
    ];
    html! {
        form.filter #filter method="get" action="./" role="search" {
            input type="hidden" name="group" value=(asked.group);
            @if let Some(limit) = asked.limit { input type="hidden" name="limit" value=(limit); }
            label.words {
                "Search"
                input type="search" name="q" value=(clean(&asked.q)) placeholder="pod, message, image ..." autocomplete="off";
            }
            label {
                "Severity"
                select name="severity" {
                    @for (value, text) in [("", "any"), ("info", "info and above"), ("warning", "warning and above"), ("critical", "critical")] {
                        option value=(value) selected[asked.severity == value] { (text) }
                    }
                }
            }
            @for (text, name, value, known) in fields {
                label {
                    (text)
                    input name=(name) value=(clean(value)) list={ (name) "s" } placeholder="any" autocomplete="off";
                }
                datalist id={ (name) "s" } { @for one in known { option value=(clean(one)) {} } }
            }
            label {
                "Sort"
                select name="sort" {
                    @for one in Sort::ALL {
                        // The usual one needs no place in the address.
                        @let value = if *one == Sort::Severity { "" } else { one.as_str() };
                        option value=(value) selected[*one == sort] { (sorted(*one)) }
                    }
                }
            }
            button.plain-only { "Filter" }
            a.clear href="./" data-stays { "Clear" }
        }
    }
}

fn sorted(sort: Sort) -> &'static str {
    match sort {
        Sort::Severity => "worst first",
        Sort::Newest => "newest first",
        Sort::Oldest => "oldest first",
        Sort::Name => "by name",
    }
}

/// One row; with its incidents if it is the one that is open.
fn group(group: &Group, asked: &Asked, incidents: Option<&List>, now: Timestamp) -> Markup {
    let several = group.incidents > 1;
    let is_muted = group.muted == group.incidents;
    let href = match several {
        true => address("./", asked, |a| a.group.clone_from(&group.id)),
        false => format!("incidents/{}", group.first),
    };
    let names = group.reasons.join(", ");
    html! {
        li.card.group.muted[is_muted].(group.severity.as_str()) id={ "group-" (group.id) } {
            h3 {
                (severity(group.severity)) " "
                @if incidents.is_some() {
                    (clean(&names))
                } @else {
                    a href=(href) data-row data-stays[several] { (clean(&names)) }
                }
                " " span.who { (clean(&who(group))) }
            }
            p.reach { (reach(group)) }
            p.age { @if let Some(since) = group.since { (ago(since, now)) } }
            p.says { (clean(&group.summary)) }
            (tags(group))
            @if let Some(list) = incidents { (table(list, now)) }
        }
    }
}

/// Whose the incidents of a group are: one workload's, or what they share.
fn who(group: &Group) -> String {
    match group.workloads.as_slice() {
        [one] if group.reach.workloads == 1 => one.replacen('/', " / ", 1),
        _ => shared(group),
    }
}

fn shared(group: &Group) -> String {
    let preposition = if group.scope.kind == "pods" { " in" } else { "" };
    format!("{}{preposition} {}", group.scope.kind, group.scope.name)
}

fn reach(group: &Group) -> String {
    let reach = group.reach;
    let parts = [
        (reach.pods > 0).then(|| count(reach.pods, "pod")),
        (reach.workloads > 1 || reach.pods + reach.nodes == 0).then(|| count(reach.workloads, "workload")),
        (reach.nodes > 1 || reach.pods == 0 && reach.nodes > 0).then(|| count(reach.nodes, "node")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn tags(group: &Group) -> Markup {
    let trend = match group.trend {
        Trend::New => Some(("", "new")),
        Trend::Growing => Some(("up", "growing")),
        Trend::Shrinking => Some(("down", "shrinking")),
        Trend::Steady => None,
    };
    let several = group.reach.workloads > 1;
    let more = group.reach.workloads.saturating_sub(WORKLOADS);
    html! {
        p.tags {
            @if let Some((class, text)) = trend { span class=(class) { (text) } }
            @if several {
                @let named: Vec<&str> = group.workloads.iter().take(WORKLOADS).map(String::as_str).collect();
                span { (clean(&named.join(", "))) @if more > 0 { " and " (thousands(more)) " more" } }
            } @else if !["workload", "pods", "node"].contains(&group.scope.kind) && !is_in_summary(group) {
                span { (clean(&shared(group))) }
            }
            @for (name, value) in &group.labels { span { (clean(name)) ": " (clean(value)) } }
            @match group.muted {
                0 => {},
                muted if muted == group.incidents => { span { "muted" } },
                muted => { span { (thousands(muted)) " muted" } },
            }
            @if let Some(id) = group.caused_by { span { "caused by " a href={ "incidents/" (id) } { "incident " (id) } } }
        }
    }
}

/// Whether the sentence names what its incidents share.
fn is_in_summary(group: &Group) -> bool {
    let (kind, name) = (group.scope.kind, group.scope.name.as_str());
    let namespace = group.workloads.first().and_then(|workload| workload.split('/').next());
    let own = namespace.and_then(|namespace| name.strip_prefix(namespace)?.strip_prefix('/')).unwrap_or(name);
    match kind {
        // Too long to be there by chance.
        "image" | "revision" => group.summary.contains(own),
        _ => group.summary.to_lowercase().contains(&format!("{kind} {own}").to_lowercase()),
    }
}

fn table(list: &List, now: Timestamp) -> Markup {
    html! {
        div.inside {
            table.pods {
                thead { tr { th { "Pod" } th { "Node" } th { "What" } th { "Since" } } }
                tbody {
                    @for open in &list.items {
                        @let f = &open.finding;
                        tr id={ "incident-" (open.id) } {
                            td { a href={ "incidents/" (open.id) } data-row { (clean(&object(f))) } }
                            td { (clean(&f.node)) }
                            td { (clean(f.brief())) @if f.muted.is_some() { " " span.sev { "muted" } } }
                            td { @if let Some(since) = f.since { (ago(since, now)) } }
                        }
                    }
                }
            }
        }
    }
}

/// The name of what an incident is about, in a list of such.
fn object(finding: &Finding) -> String {
    match (finding.pod.as_str(), &finding.workload) {
        ("", Some(workload)) => format!("{}/{}", workload.kind, workload.name),
        ("", None) => finding.node.clone(),
        (pod, _) => pod.to_owned(),
    }
}

/// Whether fewer than all incidents are asked for.
fn is_filtered(asked: &Asked) -> bool {
    address("./", asked, |a| a.sort.clear()) != "./"
}

fn nothing(shown: &Shown, overview: &Overview<'_>, filter: &Filter, asked: &Asked) -> Markup {
    let is = |clear: fn(&mut Asked)| address("./", asked, clear) == "./";
    let is_plain = !is_filtered(asked);
    let is_group = is(|a| (a.sort, a.group) = (String::new(), String::new()));
    html! {
        @if is_group && !is_plain {
            p.card.none {
                @if !query::resolved(overview, filter).is_empty() { "This problem has resolved. " }
                "No incident of this group is open. " a href="./" data-stays { "Show all" }
            }
        } @else if !is_plain {
            p.card.none { "No open incident matches this filter. " a href="./" data-stays { "Show all" } }
        } @else if shown.ready().is_err() {
            p.card.none { "No open incidents are known yet." }
        } @else {
            p.card.none.good { "No open incidents." }
        }
    }
}

fn pages_links(asked: &Asked, next: Option<&str>) -> Markup {
    html! {
        @if next.is_some() || asked.after.is_some() {
            nav.more aria-label="Pages" {
                @if asked.after.is_some() { a href=(address("./", asked, |_| ())) { "First page" } }
                @if let Some(token) = next {
                    a href=(address("./", asked, |a| a.after = Some(token.to_owned()))) { "Next page" }
                }
            }
        }
    }
}

/// What is no list of what is open: the last hours, and what is over.
fn beside(
    overview: &Overview<'_>,
    filter: &Filter,
    asked: &Asked,
    buckets: &[Bucket],
    now: Timestamp,
) -> Markup {
    let history = strip(buckets, now);
    let resolved = query::resolved(overview, filter);
    html! {
        aside aria-label="The last hours" {
            section.card {
                h2 { "Last 6 hours, all watched pods" }
                @match history {
                    Some(picture) => (picture),
                    None => p.quiet { "Nothing opened, resolved or terminated since KubeHealer started. Incidents that were already open then are not counted." },
                }
            }
            section.card {
                h2 { "Recently resolved" }
                @if resolved.is_empty() { p.quiet { "Nothing" @if is_filtered(asked) { " that matches the filter" } "." } }
                ul.lines #resolved { @for (over, alike) in alike(&resolved).into_iter().take(RESOLVED) { (line(over, alike, now)) } }
            }
        }
    }
}

/// The newest of those with the same reason, workload and ending, and how many they are.
fn alike(resolved: &[Resolved]) -> Vec<(&Resolved, usize)> {
    let key =
        |over: &Resolved| (over.finding.reason.as_str().to_owned(), brief_name(&over.finding), over.ending);
    let mut lines: Vec<(&Resolved, usize)> = Vec::new();
    for over in resolved {
        match lines.iter_mut().find(|(first, _)| key(first) == key(over)) {
            Some((_, number)) => *number += 1,
            None => lines.push((over, 1)),
        }
    }
    lines
}

fn line(over: &Resolved, alike: usize, now: Timestamp) -> Markup {
    let f = &over.finding;
    let lasted = f.since.map(|since| span(over.resolved_at.duration_since(since).as_secs()));
    html! {
        li id={ "over-" (over.id) } {
            span.sev.good { (over.ending.as_str()) } " "
            a href={ "incidents/" (over.id) } { (clean(f.reason.as_str())) } " "
            (clean(&brief_name(f)))
            @if alike > 1 { ", " (count(alike, "incident")) }
            div.quiet {
                (ago(over.resolved_at, now))
                @if let Some(lasted) = lasted { ", after " (lasted) }
                ": " (sentence(&over.text, now))
            }
        }
    }
}

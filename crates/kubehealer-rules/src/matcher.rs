//! What a rule looks at: the part of it that is decided by comparing names, before any expression is evaluated.
//!
//! Must not know expressions.

use std::fmt::{self, Write as _};

use super::value::ContainerView;
use kubehealer_core::diagnosis::{ContainerType, Finding, WorkloadRef};
use kubehealer_core::objects::Pod;

/// A name with `*` for any characters and `?` for one; with `!` before it, all other names.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Glob {
    not: bool,
    kind: GlobKind,
}

#[derive(Clone, Debug, PartialEq)]
enum GlobKind {
    Any,
    Exact(Box<str>),
    Starts(Box<str>),
    Ends(Box<str>),
    Pattern(Box<[char]>),
}

impl Glob {
    pub(super) fn new(text: &str) -> Self {
        let (not, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let wild = |t: &str| t.contains(['*', '?']);
        let kind = match (text.strip_suffix('*'), text.strip_prefix('*')) {
            _ if text == "*" => GlobKind::Any,
            _ if !wild(text) => GlobKind::Exact(text.into()),
            (Some(start), _) if !wild(start) => GlobKind::Starts(start.into()),
            (_, Some(end)) if !wild(end) => GlobKind::Ends(end.into()),
            _ => GlobKind::Pattern(text.chars().collect()),
        };
        Self { not, kind }
    }

    fn fits(&self, name: &str) -> bool {
        match &self.kind {
            GlobKind::Any => true,
            GlobKind::Exact(text) => **text == *name,
            GlobKind::Starts(start) => name.starts_with(&**start),
            GlobKind::Ends(end) => name.ends_with(&**end),
            GlobKind::Pattern(pattern) => pattern_fits(pattern, name),
        }
    }

    /// The one name that it stands for.
    fn exact(&self) -> Option<&str> {
        match &self.kind {
            GlobKind::Exact(text) if !self.not => Some(text),
            _ => None,
        }
    }

    /// Whether it could stand for any of these names.
    pub(super) fn fits_any<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> bool {
        self.not || names.any(|name| self.fits(name))
    }
}

/// Goes back at most to the last `*`: time is bounded by the product of the lengths.
fn pattern_fits(pattern: &[char], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some('?') => {
                p += 1;
                n += 1;
            }
            Some(c) if name.get(n) == Some(c) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
}

/// As it was written.
impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.not {
            f.write_char('!')?;
        }
        match &self.kind {
            GlobKind::Any => f.write_char('*'),
            GlobKind::Exact(text) => f.write_str(text),
            GlobKind::Starts(text) => write!(f, "{text}*"),
            GlobKind::Ends(text) => write!(f, "*{text}"),
            GlobKind::Pattern(pattern) => pattern.iter().try_for_each(|c| f.write_char(*c)),
        }
    }
}

/// A list of names: fits what one of them names and none of those with `!` does. An empty list fits all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Names(pub(super) Vec<Glob>);

impl Names {
    pub(super) fn fit(&self, name: &str) -> bool {
        let mut wanted = true;
        for glob in &self.0 {
            if glob.not {
                if glob.fits(name) {
                    return false;
                }
            } else {
                wanted = false;
            }
        }
        wanted || self.0.iter().any(|glob| !glob.not && glob.fits(name))
    }

    /// The names, if each is written out.
    pub(super) fn exact(&self) -> Option<Vec<&str>> {
        (!self.0.is_empty()).then(|| self.0.iter().map(Glob::exact).collect::<Option<_>>())?
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&names.join(", "))
    }
}

/// Kind and name of a workload.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WorkloadGlob {
    pub(super) not: bool,
    pub(super) kind: Glob,
    pub(super) name: Glob,
}

impl WorkloadGlob {
    fn fits(&self, workload: Option<&WorkloadRef>) -> bool {
        workload.is_some_and(|w| self.kind.fits(&w.kind) && self.name.fits(&w.name))
    }
}

/// What a rule looks at. All that is given must fit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Matcher {
    pub(super) namespaces: Names,
    pub(super) workloads: Vec<WorkloadGlob>,
    /// Of the pod.
    pub(super) labels: Vec<(Box<str>, Names)>,
    pub(super) containers: Names,
    pub(super) container_types: Vec<ContainerType>,
    pub(super) reasons: Names,
}

/// On one line: `namespaces: pay*; reasons: OOMKilled`.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = |not| if not { "!" } else { "" };
        let workloads: Vec<_> =
            self.workloads.iter().map(|w| format!("{}{}/{}", not(w.not), w.kind, w.name)).collect();
        let labels: Vec<_> = self.labels.iter().map(|(key, names)| format!("{key}={names}")).collect();
        let types: Vec<_> = self.container_types.iter().map(|t| t.as_str()).collect();
        let all = [
            ("namespaces", self.namespaces.to_string()),
            ("workloads", workloads.join(", ")),
            ("labels", labels.join(", ")),
            ("containers", self.containers.to_string()),
            ("containerTypes", types.join(", ")),
            ("reasons", self.reasons.to_string()),
        ];
        let said: Vec<_> = all
            .iter()
            .filter(|(_, said)| !said.is_empty())
            .map(|(what, said)| format!("{what}: {said}"))
            .collect();
        f.write_str(&said.join("; "))
    }
}

impl Matcher {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it asks about containers.
    pub(super) fn wants_container(&self) -> bool {
        !self.containers.is_empty() || !self.container_types.is_empty()
    }

    /// The part about the pod as a whole, or the workload or node that a finding is about. `workload` is asked for only
    /// when it matters.
    pub(super) fn fits_subject<'w>(
        &self,
        namespace: &str,
        pod: Option<&Pod>,
        workload: impl FnOnce() -> Option<&'w WorkloadRef>,
    ) -> bool {
        if !self.namespaces.fit(namespace) {
            return false;
        }
        let labels = self.labels.iter().all(|(key, names)| {
            pod.and_then(|p| p.metadata.label(key)).is_some_and(|value| names.fit(value))
        });
        labels && (self.workloads.is_empty() || self.fits_workload(workload()))
    }

    fn fits_workload(&self, workload: Option<&WorkloadRef>) -> bool {
        let mut wanted = true;
        for glob in &self.workloads {
            if glob.not {
                if glob.fits(workload) {
                    return false;
                }
            } else {
                wanted = false;
            }
        }
        wanted || self.workloads.iter().any(|glob| !glob.not && glob.fits(workload))
    }

    pub(super) fn fits_container(&self, name: &str, kind: Option<ContainerType>) -> bool {
        (self.container_types.is_empty() || kind.is_some_and(|kind| self.container_types.contains(&kind)))
            && (self.containers.is_empty() || (!name.is_empty() && self.containers.fit(name)))
    }

    pub(super) fn fits_finding(&self, finding: &Finding) -> bool {
        self.reasons.fit(finding.reason.as_str())
            && self.fits_container(&finding.container, finding.container_type)
    }
}

/// The container that a finding is about.
pub(super) fn container_of<'a>(pod: &'a Pod, name: &str) -> Option<ContainerView<'a>> {
    (!name.is_empty()).then(|| ContainerView::all(pod).find(|c| c.name() == name)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(globs: &[&str]) -> Names {
        Names(globs.iter().map(|g| Glob::new(g)).collect())
    }

    #[test]
    fn globs_fit_what_a_shell_would_take_them_for() {
        for (glob, name, fits) in [
            ("*", "", true),
            ("pay*", "payments", true),
            ("pay*", "repay", false),
            ("*-job", "night-job", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*a*a*a*b", &"a".repeat(300), false),
            ("a*c", &format!("a{}", "b".repeat(600)), false),
            ("a*b*c", &format!("a{}c", "b".repeat(600)), true),
            ("a?*b*", &format!("a{}b", "x".repeat(600)), true),
        ] {
            assert_eq!(names(&[glob]).fit(name), fits, "{glob} {name}");
        }
    }

    #[test]
    fn a_name_after_an_exclamation_mark_is_taken_out() {
        let some = names(&["pay*", "!payments-test"]);
        assert!(some.fit("payments") && !some.fit("payments-test") && !some.fit("shop"));
        let others = names(&["!kube-*"]);
        assert!(others.fit("shop") && !others.fit("kube-system"));
        assert!(names(&[]).fit("anything"));
    }
}

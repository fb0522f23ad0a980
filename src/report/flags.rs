//! The flags that choose the cluster, in every command that a report prints: it is copied into a shell where another cluster may
//! be the current one.

use crate::diagnosis::Survey;
use crate::diagnosis::text::arg;

/// What was given on the command line to choose a cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterFlags {
    /// As they stand behind the program's name; empty if there are none.
    text: String,
}

impl ClusterFlags {
    pub fn new(context: Option<&str>, kubeconfig: Option<&str>) -> Self {
        let flags = [("--context", context), ("--kubeconfig", kubeconfig)];
        let given = flags.iter().filter_map(|(flag, value)| value.map(|v| format!(" {flag} {}", arg(v))));
        Self { text: given.collect() }
    }

    /// Adds them to the next steps of all findings.
    pub fn add_to(&self, survey: &mut Survey) {
        for step in survey.findings.iter_mut().flat_map(|finding| &mut finding.next_steps) {
            *step = self.with(step);
        }
    }

    /// The text with the flags in each of its commands: behind each `kubectl` and `kubehealer diagnose`.
    pub fn with(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + self.text.len());
        let mut rest = text;
        while let Some((at, program)) = ["kubectl", "kubehealer diagnose"]
            .iter()
            .filter_map(|program| rest.find(&format!("{program} ")).map(|at| (at, program)))
            .min()
        {
            let (before, after) = rest.split_at(at);
            let (program, after) = after.split_at(program.len());
            out.push_str(before);
            out.push_str(program);
            // A word that only ends so is another one.
            if before.ends_with(|c: char| !c.is_alphanumeric())
                || (before.is_empty() && out.len() == program.len())
            {
                out.push_str(&self.text);
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_of_a_text_gets_the_flags_and_nothing_else_does() {
        let flags = ClusterFlags::new(Some("prod eu"), Some("/tmp/it's"));
        let added = "--context 'prod eu' --kubeconfig '/tmp/it'\\''s'";
        for (text, expected) in [
            ("kubectl -n shop get pods", format!("kubectl {added} -n shop get pods")),
            (
                "see: kubectl get pv, kubectl get pvc",
                format!("see: kubectl {added} get pv, kubectl {added} get pvc"),
            ),
            ("kubehealer diagnose -A", format!("kubehealer diagnose {added} -A")),
            ("kubehealer explain OOMKilled", "kubehealer explain OOMKilled".to_owned()),
            ("my-notkubectl get", "my-notkubectl get".to_owned()),
            ("with kubectl, or crictl rmi", "with kubectl, or crictl rmi".to_owned()),
        ] {
            assert_eq!(flags.with(text), expected);
            assert_eq!(ClusterFlags::default().with(text), text);
        }
    }
}

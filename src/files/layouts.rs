//! Where tools put what they gather: whose log a file is and what its objects are, by its path.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// The log of a container: of the one before the present one, or not.
    Log { previous: bool },
    /// The logs of all containers of a pod, one after the other.
    Logs,
    /// Objects that do not say their kind.
    Items { api_version: &'static str, kind: &'static str },
    /// What the tool says of a log that it could not read.
    Error,
}

const CURRENT: Holds = Holds::Log { previous: false };
const PREVIOUS: Holds = Holds::Log { previous: true };

const fn items(api_version: &'static str, kind: &'static str) -> Holds {
    Holds::Items { api_version, kind }
}

/// The ends of paths. The first that fits counts.
const LAYOUTS: [(&str, Holds); 19] = [
    // `kubehealer dump`, and `kubectl logs` by hand. Namespaces and containers have no dots in their names, pods may.
    ("{namespace}.{pod}.{container}.current.log", CURRENT),
    ("{namespace}.{pod}.{container}.previous.log", PREVIOUS),
    // must-gather and `oc adm inspect`.
    ("namespaces/{namespace}/pods/{pod}/{container}/{any}/logs/current.log", CURRENT),
    ("namespaces/{namespace}/pods/{pod}/{container}/{any}/logs/previous.log", PREVIOUS),
    // `kubectl cluster-info dump --output-directory`.
    ("{namespace}/{pod}/logs.txt", Holds::Logs),
    // troubleshoot.sh.
    ("cluster-resources/pods/logs/{namespace}/{pod}/{container}-logs-errors.log", Holds::Error),
    ("cluster-resources/pods/logs/{namespace}/{pod}/{container}-previous.log", PREVIOUS),
    ("cluster-resources/pods/logs/{namespace}/{pod}/{container}.log", CURRENT),
    // troubleshoot.sh, before its lists said of what they are.
    ("cluster-resources/pods/{namespace}.json", items("v1", "Pod")),
    ("cluster-resources/events/{namespace}.json", items("v1", "Event")),
    ("cluster-resources/nodes.json", items("v1", "Node")),
    ("cluster-resources/pvcs/{namespace}.json", items("v1", "PersistentVolumeClaim")),
    ("cluster-resources/deployments/{namespace}.json", items("apps/v1", "Deployment")),
    ("cluster-resources/replicasets/{namespace}.json", items("apps/v1", "ReplicaSet")),
    ("cluster-resources/statefulsets/{namespace}.json", items("apps/v1", "StatefulSet")),
    ("cluster-resources/daemonsets/{namespace}.json", items("apps/v1", "DaemonSet")),
    ("cluster-resources/jobs/{namespace}.json", items("batch/v1", "Job")),
    ("cluster-resources/cronjobs/{namespace}.json", items("batch/v1", "CronJob")),
    // sos, which names a file as the command: `kubectl --namespace=NS logs POD -c CONTAINER`.
    ("{namespace}/podlogs/{pod}/kubectl_{any}_-c_{container}", CURRENT),
];

/// Whose log it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogOf {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) container: String,
    pub(super) previous: bool,
}

impl LogOf {
    /// The container: by namespace, pod and name.
    pub(super) fn container(&self) -> [String; 3] {
        [&self.namespace, &self.pod, &self.container].map(String::clone)
    }
}

/// What a path tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Log(LogOf),
    Logs,
    Items { api_version: &'static str, kind: &'static str },
    Error,
}

/// What a path tells of the file; none for most.
pub(super) fn told(path: &Path) -> Option<Told> {
    static PATTERNS: LazyLock<Vec<(Regex, Holds)>> = LazyLock::new(|| {
        let patterns = LAYOUTS.iter().filter_map(|(path, holds)| {
            let path = regex::escape(path)
                .replace(r"\{any\}", "[^/]+")
                .replace(r"\{namespace\}", "(?<namespace>[[:alnum:]-]+)")
                .replace(r"\{pod\}", "(?<pod>[[:alnum:].-]+)")
                .replace(r"\{container\}", "(?<container>[[:alnum:]-]+)");
            Some((Regex::new(&format!("(?:^|/){path}$")).ok()?, *holds))
        });
        patterns.collect()
    });
    let path = path.to_str()?.replace('\\', "/");
    let (found, holds) =
        PATTERNS.iter().find_map(|(pattern, holds)| Some((pattern.captures(&path)?, *holds)))?;
    let name = |of| found.name(of).map_or(String::new(), |name| name.as_str().to_owned());
    Some(match holds {
        Holds::Log { previous } => Told::Log(LogOf {
            namespace: name("namespace"),
            pod: name("pod"),
            container: name("container"),
            previous,
        }),
        Holds::Logs => Told::Logs,
        Holds::Items { api_version, kind } => Told::Items { api_version, kind },
        Holds::Error => Told::Error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_file_says_what_it_holds() {
        assert!(LAYOUTS.iter().all(|(path, _)| !path.contains('\\')));
        let log = |namespace: &str, pod: &str, container: &str, previous| {
            let own = str::to_owned;
            Some(Told::Log(LogOf {
                namespace: own(namespace),
                pod: own(pod),
                container: own(container),
                previous,
            }))
        };
        let told = |path: &str| told(Path::new(path));
        assert_eq!(told("logs/shop.cart-1.cart.previous.log"), log("shop", "cart-1", "cart", true));
        assert_eq!(
            told("shop.a.pod.with.dots.cart.current.log"),
            log("shop", "a.pod.with.dots", "cart", false)
        );
        assert_eq!(
            told("mg/namespaces/shop/pods/cart-1/cart/cart/logs/previous.log"),
            log("shop", "cart-1", "cart", true)
        );
        let bundle = "support-bundle-1/cluster-resources";
        assert_eq!(
            told(&format!("{bundle}/pods/logs/shop/cart-1/cart-previous.log")),
            log("shop", "cart-1", "cart", true)
        );
        assert_eq!(
            told(&format!("{bundle}/pods/logs/shop/cart-1/cart.log")),
            log("shop", "cart-1", "cart", false)
        );
        assert_eq!(told(&format!("{bundle}/pods/logs/shop/cart-1/cart-logs-errors.log")), Some(Told::Error));
        let pods = Told::Items { api_version: "v1", kind: "Pod" };
        assert_eq!(told(&format!("{bundle}/pods/shop.json")), Some(pods));
        assert_eq!(told("dump/shop/cart-1/logs.txt"), Some(Told::Logs));
        let sos = "sos_commands/kubernetes/cluster-info/shop/podlogs/cart-1/kubectl_--namespace_shop_logs_cart-1_-c_cart";
        assert_eq!(told(sos), log("shop", "cart-1", "cart", false));
        for other in [
            "logs/kubelet.log",
            "logs/current.log",
            "a.b.previous.log",
            "x.previous.txt",
            "logs/shop.cart.cart.err",
            "pods.json",
        ] {
            assert_eq!(told(other), None, "{other}");
        }
    }
}

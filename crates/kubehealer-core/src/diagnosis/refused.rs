//! Why the API server does not create what a controller wants: quotas, policies, webhooks, what is missing.
//!
//! A table: the first rule whose words are in the answer names cause, scope and next steps. The sentence is the answer's own.

use super::cause::CauseCode;
use super::finding::{Finding, WorkloadRef};
use super::message::Words;
use super::messages;
use super::reason::{Reason, Severity};
use super::text;
use crate::objects::ObjectMeta;

/// The answer of the API server, taken apart as far as all rules need it.
struct Answer<'a> {
    /// As it came.
    message: &'a str,
    /// The same without the name of the pod, which is a new one at every try, and fit to be shown.
    said: String,
    namespace: String,
}

impl Answer<'_> {
    /// A name between two texts, or nothing.
    fn named(&self, before: &str, after: &str) -> String {
        text::between(self.message, before, after).map(text::name).unwrap_or_default()
    }

    /// A part that is shown, at most so long.
    fn shown(part: &str, most: usize) -> String {
        text::head(&text::quote(&text::normalise(part.trim())), most)
    }

    /// The answer from one of its words on.
    fn from(&self, word: &str) -> String {
        match self.message.find(word) {
            Some(at) => Self::shown(self.message.get(at..).unwrap_or_default(), SHOWN),
            None => text::head(&self.said, SHOWN),
        }
    }
}

/// How much of an answer a first line quotes, in characters.
const SHOWN: usize = 220;

/// What a rule is about, for grouping into problems.
#[derive(Clone, Copy)]
enum About {
    Nothing,
    Namespace,
    /// A name in the cluster between two texts.
    Named(&'static str, &'static str, &'static str),
    /// A name in the namespace between two texts.
    Within(&'static str, &'static str, &'static str),
}

/// One kind of answer.
struct Rule {
    /// All of these, in lower case.
    all: &'static [&'static str],
    /// And one of these, where there are any.
    any: &'static [&'static str],
    code: CauseCode,
    about: About,
    /// The sentence.
    words: fn(&Answer<'_>) -> String,
    /// What to do first.
    steps: &'static [&'static str],
}

const WEBHOOKS: &str = "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations";
const WEBHOOK: About = About::Named("webhook", "webhook \"", "\"");

/// The first that fits counts: a webhook's own words may hold any of the others.
static RULES: &[Rule] = &[
    Rule {
        all: &["call", "webhook"],
        any: &["failed calling webhook", "failed to call webhook", "failed calling admission webhook"],
        code: CauseCode::WebhookDenied,
        about: WEBHOOK,
        words: not_called,
        steps: &[],
    },
    Rule {
        all: &["admission webhook"],
        any: &[],
        code: CauseCode::WebhookDenied,
        about: WEBHOOK,
        words: denied_by_webhook,
        steps: &[WEBHOOKS],
    },
    Rule {
        all: &[],
        any: &[
            "operation does not apply",
            "json patch",
            "jsonpatch",
            "jsonpointer",
            "webhook response",
            "admission response",
        ],
        code: CauseCode::WebhookDenied,
        about: About::Nothing,
        words: |a| {
            let said = a.said.strip_prefix("Internal error occurred: ").unwrap_or(&a.said);
            format!(
                "the patch of a mutating admission webhook cannot be applied: {}",
                text::head(said, SHOWN)
            )
        },
        steps: &[
            "find the mutating webhook that patches this field, and correct it: kubectl get mutatingwebhookconfigurations",
        ],
    },
    Rule {
        all: &["admissionpolicy"],
        any: &["validatingadmissionpolicy", "mutatingadmissionpolicy"],
        code: CauseCode::AdmissionDenied,
        about: About::Named("policy", "AdmissionPolicy '", "'"),
        words: denied_by_policy,
        steps: &["kubectl get validatingadmissionpolicies,validatingadmissionpolicybindings"],
    },
    Rule {
        all: &["exceeded quota"],
        any: &[],
        code: CauseCode::QuotaExceeded,
        about: About::Within("quota", "exceeded quota: ", ","),
        words: |a| a.from("exceeded quota"),
        steps: &["QUOTA"],
    },
    Rule {
        all: &["must specify"],
        any: &["failed quota", "quota"],
        code: CauseCode::QuotaExceeded,
        about: About::Within("quota", "failed quota: ", ":"),
        words: |a| {
            let fields = a.message.split_once("must specify ").map_or("", |(_, f)| f);
            format!(
                "quota {} requires fields that the pods do not set: must specify {}",
                a.named("failed quota: ", ":"),
                Answer::shown(fields, SHOWN)
            )
        },
        steps: &["set these requests and limits on every container, or a LimitRange with defaults", "QUOTA"],
    },
    Rule {
        all: &[],
        any: &["insufficient quota to match these scopes", "priorityclass is not permitted"],
        code: CauseCode::QuotaExceeded,
        about: About::Namespace,
        words: |a| {
            format!(
                "this PriorityClass is allowed only in namespaces whose ResourceQuota names it: {}",
                text::head(&a.said, SHOWN)
            )
        },
        steps: &["QUOTA"],
    },
    Rule {
        all: &["violates podsecurity"],
        any: &[],
        code: CauseCode::AdmissionDenied,
        about: About::Namespace,
        words: |a| format!("violates PodSecurity{}", of_pod_security(a.message)),
        steps: &[
            "set these fields in the pod template; a lower level of the namespace would allow this to all of its pods",
            "NAMESPACE",
        ],
    },
    Rule {
        all: &["security context constraint"],
        any: &[],
        code: CauseCode::AdmissionDenied,
        about: About::Namespace,
        words: |a| {
            format!(
                "no security context constraint (SCC) that their ServiceAccount may use allows them{}",
                of_constraints(a.message)
            )
        },
        steps: &["kubectl get scc", "oc adm policy who-can use scc NAME"],
    },
    Rule {
        all: &[],
        any: &["podsecuritypolicy", "no providers available"],
        code: CauseCode::AdmissionDenied,
        about: About::Namespace,
        words: |a| {
            format!(
                "no PodSecurityPolicy that their ServiceAccount may use allows them{}",
                of_constraints(a.message)
            )
        },
        steps: &["kubectl get podsecuritypolicies"],
    },
    Rule {
        all: &[],
        any: &[
            "usage per container",
            "usage per pod",
            "usage per persistentvolumeclaim",
            "limit to request ratio",
        ],
        code: CauseCode::AdmissionDenied,
        about: About::Namespace,
        words: |a| {
            format!(
                "a LimitRange of the namespace does not allow their requests or limits: {}",
                text::head(&a.said, SHOWN)
            )
        },
        steps: &["LIMITRANGE"],
    },
    Rule {
        all: &["no api token found"],
        any: &[],
        code: CauseCode::MissingServiceAccount,
        about: About::Within("serviceaccount", "service account \"", "\""),
        words: |a| format!("ServiceAccount {} has no token yet", a.named("service account \"", "\"")),
        steps: &["ACCOUNTS"],
    },
    Rule {
        all: &["not found"],
        any: &["serviceaccount \"", "service account"],
        code: CauseCode::MissingServiceAccount,
        about: About::Within("serviceaccount", "serviceaccount \"", "\""),
        words: |a| format!("ServiceAccount {} does not exist", a.named("serviceaccount \"", "\"")),
        steps: &["create the ServiceAccount, or correct serviceAccountName in the pod template", "ACCOUNTS"],
    },
    Rule {
        all: &["runtimeclass"],
        any: &["not found"],
        code: CauseCode::CreateRefused,
        about: About::Named("runtimeclass", "RuntimeClass \"", "\""),
        words: |a| format!("RuntimeClass {} does not exist", a.named("RuntimeClass \"", "\"")),
        steps: &[
            "create the RuntimeClass (an operator often does this), or correct runtimeClassName: kubectl get runtimeclasses",
        ],
    },
    Rule {
        all: &["no priorityclass with name"],
        any: &[],
        code: CauseCode::CreateRefused,
        about: About::Named("priorityclass", "PriorityClass with name ", " was found"),
        words: |a| {
            format!("PriorityClass {} does not exist", a.named("PriorityClass with name ", " was found"))
        },
        steps: &["create the PriorityClass, or correct priorityClassName: kubectl get priorityclasses"],
    },
    Rule {
        all: &["it is being terminated"],
        any: &[],
        code: CauseCode::CreateRefused,
        about: About::Namespace,
        words: |a| format!("namespace {} is being deleted", a.namespace),
        steps: &["NAMESPACE"],
    },
    Rule {
        all: &["is being deleted"],
        any: &["already exists"],
        code: CauseCode::CreateRefused,
        about: About::Nothing,
        words: |a| format!("the old pod with that name still exists: {}", text::head(&a.said, SHOWN)),
        steps: &[],
    },
    Rule {
        all: &[" is invalid: "],
        any: &[],
        code: CauseCode::InvalidConfiguration,
        about: About::Nothing,
        words: |a| {
            let why = a.message.split_once(" is invalid: ").map_or("", |(_, why)| why);
            format!("their spec is not valid: {}", Answer::shown(why, SHOWN))
        },
        steps: &["correct the field in the pod template"],
    },
    Rule {
        all: &["already exists"],
        any: &[],
        code: CauseCode::CreateRefused,
        about: About::Nothing,
        words: |a| format!("a pod with that name already exists: {}", text::head(&a.said, SHOWN)),
        steps: &[],
    },
    Rule {
        all: &["node label selector conflicts"],
        any: &[],
        code: CauseCode::CreateRefused,
        about: About::Namespace,
        words: |a| {
            format!("their nodeSelector contradicts that of the namespace: {}", text::head(&a.said, SHOWN))
        },
        steps: &["NAMESPACE"],
    },
    Rule {
        all: &["cannot "],
        any: &[" is forbidden: user ", "forbidden: user "],
        code: CauseCode::CreateRefused,
        about: About::Nothing,
        words: |a| format!("missing permission (RBAC): {}", a.from("User \"")),
        steps: &["give this user the permission with a Role and a RoleBinding"],
    },
    Rule {
        all: &[],
        any: &[
            "etcdserver",
            "timed out",
            "too many requests",
            "timeout",
            "connection refused",
            "deadline exceeded",
        ],
        code: CauseCode::CreateRefused,
        about: About::Nothing,
        words: |a| format!("API server error: {}", text::head(&a.said, SHOWN)),
        steps: &["read the log of the API server and of etcd"],
    },
];

/// What no rule knows is quoted.
static UNKNOWN: Rule = Rule {
    all: &[],
    any: &[],
    code: CauseCode::CreateRefused,
    about: About::Nothing,
    words: |a| text::head(&a.said, SHOWN),
    steps: &[],
};

fn rule_for(message: &str) -> &'static Rule {
    let (lower, words) = (message.to_lowercase(), Words::of(message, &[]));
    let has = |word: &&str| messages::mentions(&lower, &words, word);
    let fits = |r: &&Rule| r.all.iter().all(has) && (r.any.is_empty() || r.any.iter().any(has));
    RULES.iter().find(fits).unwrap_or(&UNKNOWN)
}

/// A webhook that could not be asked, or whose answer is none: that is the webhook's fault, not the pod's.
fn not_called(answer: &Answer<'_>) -> String {
    let webhook = answer.named("webhook \"", "\"");
    let said =
        answer.message.split_once(&format!("webhook \"{webhook}\": ")).map_or(answer.message, |(_, s)| s);
    let said = said.strip_prefix("failed to call webhook: ").unwrap_or(said);
    // `Post "https://name.namespace.svc:443/path?timeout=10s": why`; older API servers write no quotes.
    let why = match said.strip_prefix("Post ").or_else(|| said.strip_prefix("Get ")) {
        Some(rest) => rest.split_once("\": ").or_else(|| rest.split_once(": ")).map_or(rest, |(_, why)| why),
        None => said,
    };
    let broken = [
        "invalid character",
        "unmarshal",
        "expected webhook response",
        "expected response",
        "couldn't get version/kind",
    ];
    let trouble =
        if broken.iter().any(|w| said.contains(w)) { "gives no valid answer" } else { "cannot be called" };
    format!("admission webhook {webhook} {trouble}: {}", Answer::shown(why, SHOWN))
}

/// What a webhook says that refuses: its own words are the reason.
fn denied_by_webhook(answer: &Answer<'_>) -> String {
    let webhook = answer.named("webhook \"", "\"");
    match answer.message.split_once(" denied the request") {
        Some((_, said)) => {
            let said = said.trim_start_matches([':', ' ']);
            let said = if said.is_empty() { "without explanation" } else { said };
            format!("denied by admission webhook {webhook}: {}", Answer::shown(said, SHOWN))
        }
        None => format!("admission webhook {webhook}: {}", text::head(&answer.said, SHOWN)),
    }
}

fn denied_by_policy(answer: &Answer<'_>) -> String {
    let policy = answer.named("AdmissionPolicy '", "'");
    let said = answer.message.split_once(" denied request: ").map_or(answer.message, |(_, said)| said);
    format!("denied by admission policy {policy}: {}", Answer::shown(said, SHOWN))
}

/// Which level it is and which of its rules are broken: where in the pod only as far as there is room.
fn of_pod_security(message: &str) -> String {
    let Some((level, rules)) = message.split_once("PodSecurity \"").and_then(|(_, m)| m.split_once("\": "))
    else {
        return String::new();
    };
    let level = text::name(level);
    let whole = text::quote(rules.trim());
    if whole.chars().count() <= 160 {
        return format!(" {level}: {whole}");
    }
    let mut outside = String::new();
    let mut depth = 0_u32;
    for c in rules.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 => outside.push(c),
            _ => {}
        }
    }
    let rules: Vec<&str> = outside.split(',').map(str::trim).filter(|r| !r.is_empty()).collect();
    format!(" {level}: {}", text::head(&text::quote(&rules.join(", ")), SHOWN))
}

/// The fields that security policies object to: `[spec.containers[0].securityContext.runAsUser: Invalid value: 0: must be in
/// the ranges: [1000, 2000] ...]`, without the policies that may not be used at all.
fn of_constraints(message: &str) -> String {
    let Some((_, list)) = message.split_once(": [") else { return String::new() };
    let list = list.trim_end().trim_end_matches(']');
    let not_usable = |part: &&str| {
        !part.contains("not usable by user or serviceaccount") && !part.trim().trim_matches('"').is_empty()
    };
    let parts: Vec<&str> = list.split(", ").filter(not_usable).collect();
    let parts = if parts.is_empty() { list.to_owned() } else { parts.join(", ") };
    if parts.trim().is_empty() { String::new() } else { format!(": {}", Answer::shown(&parts, SHOWN)) }
}

/// The service of the cluster that a webhook is called at, and its namespace: `https://name.namespace.svc:443/path`.
fn service_of(message: &str) -> Option<(String, String)> {
    let host = message.split_once("https://")?.1.split(['/', ':', '?', '"']).next()?;
    let mut parts = host.split('.');
    let (service, space) = (parts.next()?, parts.next()?);
    (parts.next() == Some("svc")).then(|| (text::name(service), text::name(space)))
}

/// What to do about a webhook that cannot be called, by what it died of.
fn steps_of_webhook(message: &str) -> Vec<String> {
    let lower = message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    let mut steps = Vec::new();
    let service = service_of(message);
    if has(&["x509: ", "tls: "]) {
        steps.push(
            "renew the webhook's certificate, and the caBundle that belongs to it (cert-manager can do both)"
                .to_owned(),
        );
    } else if let Some((service, space)) = &service {
        if lower.contains(&format!("service \"{service}\" not found")) {
            steps.push(format!("kubectl -n {} get service {}", text::arg(space), text::arg(service)));
            steps.push(format!("reinstall the webhook's server; only if its checks are no longer wanted, delete its configuration: {WEBHOOKS}"));
            return steps;
        }
        if has(&["address is not allowed"]) {
            steps.push("the webhook's address is one that the API server may not call (loopback or link-local): correct the endpoints of its Service".to_owned());
        } else {
            steps.push(format!("find out why service {service} does not answer"));
        }
        steps.push(format!("kubectl -n {} get endpointslices,pods", text::arg(space)));
    }
    steps.push(WEBHOOKS.to_owned());
    steps
}

/// A step of a rule, with the names of this case.
fn step(step: &str, finding: &Finding, namespace: &str) -> String {
    match step {
        "QUOTA" => finding.kubectl("describe resourcequota"),
        "LIMITRANGE" => finding.kubectl("describe limitrange"),
        "ACCOUNTS" => finding.kubectl("get serviceaccounts"),
        "NAMESPACE" => format!("kubectl get namespace {} --show-labels", text::arg(namespace)),
        other => other.to_owned(),
    }
}

/// Why pods (or the Jobs of a CronJob) cannot be created: the API server's answer to their controller. `pods` are how many of
/// them are ready and wanted, where the owner counts that.
pub(super) fn failed_create(
    what: &str,
    meta: &ObjectMeta,
    of: &WorkloadRef,
    message: &str,
    pods: Option<(i32, i32)>,
) -> Finding {
    let message = text::uncombined(message);
    let said = message.split_once(" is forbidden: ").map_or(message, |(_, said)| said);
    let said = said.split_once(" failed error: ").map_or(said, |(_, said)| said);
    let said = said.strip_prefix("Error creating: ").unwrap_or(said);
    let answer = Answer { message, said: text::quote(said), namespace: text::name(&meta.namespace) };
    let rule = rule_for(message);
    let ready = pods.map(|(ready, wanted)| format!(" ({ready} of {wanted} ready)")).unwrap_or_default();
    let short = match (rule.words)(&answer) {
        empty if empty.is_empty() => "whoever denied it gave no reason".to_owned(),
        short => short,
    };
    let mut finding = Finding::of_object(meta, Reason::FailedCreate)
        .summary(format!("{what} of {} {} cannot be created{ready}: {short}", of.kind, of.name))
        .cause(rule.code, answer.said.clone());
    if answer.said.is_empty() {
        finding.cause.text = "the event ends after \"Error creating:\"".to_owned();
    }
    finding.workload = Some(of.clone());
    let namespace = answer.namespace.clone();
    finding = match rule.about {
        About::Nothing => finding,
        About::Namespace => finding.scope("namespace", namespace.clone()),
        About::Named(kind, before, after) => finding.scope(kind, answer.named(before, after)),
        About::Within(kind, before, after) => {
            finding.scope(kind, format!("{namespace}/{}", answer.named(before, after)))
        }
    };
    if pods.is_some_and(|(ready, wanted)| ready == 0 && wanted > 0) {
        finding.severity = Severity::Critical;
    }
    for words in rule.steps {
        let words = step(words, &finding, &namespace);
        finding = finding.next_step(words);
    }
    if rule.code == CauseCode::WebhookDenied && rule.steps.is_empty() {
        finding.next_steps = steps_of_webhook(message);
    }
    let kind = of.kind.to_lowercase();
    let describe = finding.kubectl(&format!("describe {} {}", text::arg(&kind), text::arg(&of.name)));
    finding.next_step(describe)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of the API server for each rule, in the order of the table, and what the first line says of it.
    const SAMPLES: &[(&str, &str)] = &[
        (
            "Internal error occurred: failed calling webhook \"pod-mutator.kubeflow\": failed to call webhook: Post \"https://kfserving-webhook-server-service.kubeflow.svc:443/mutate-pods?timeout=30s\": service \"kfserving-webhook-server-service\" not found",
            "admission webhook pod-mutator.kubeflow cannot be called: service \"kfserving-webhook-server-service\" not found",
        ),
        (
            "admission webhook \"validation.gatekeeper.sh\" denied the request: [denied by workloads-require-owner] All workloads must have a valid `owner` label",
            "denied by admission webhook validation.gatekeeper.sh: [denied by workloads-require-owner] All workloads must have a valid `owner` label",
        ),
        (
            "Internal error occurred: add operation does not apply: doc is missing path: \"/metadata/annotations/x\": missing value",
            "the patch of a mutating admission webhook cannot be applied: add operation does not apply: doc is missing path: \"/metadata/annotations/x\": missing value",
        ),
        (
            "pods \"cart-1\" is forbidden: ValidatingAdmissionPolicy 'no-latest' with binding 'all' denied request: image tag latest is not allowed",
            "denied by admission policy no-latest: image tag latest is not allowed",
        ),
        (
            "pods \"cart-1\" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=5, limited: pods=5",
            "exceeded quota: compute, requested: pods=1, used: pods=5, limited: pods=5",
        ),
        (
            "pods \"cart-1\" is forbidden: failed quota: compute: must specify limits.cpu for: app; limits.memory for: app",
            "quota compute requires fields that the pods do not set: must specify limits.cpu for: app; limits.memory for: app",
        ),
        (
            "pods \"cart-1\" is forbidden: insufficient quota to match these scopes: [{PriorityClass In [system-node-critical]}]",
            "insufficient quota to match these scopes",
        ),
        (
            "pods \"cart-1\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true (pod or container \"app\" must set securityContext.runAsNonRoot=true)",
            "violates PodSecurity restricted:latest: runAsNonRoot != true (pod or container \"app\" must set securityContext.runAsNonRoot=true)",
        ),
        (
            "pods \"cart-1\" is forbidden: unable to validate against any security context constraint: [provider \"anyuid\": Forbidden: not usable by user or serviceaccount, provider restricted-v2: .containers[0].runAsUser: Invalid value: 999: must be in the ranges: [1000680000, 1000689999]]",
            ".containers[0].runAsUser: Invalid value: 999",
        ),
        (
            "pods \"cart-1\" is forbidden: PodSecurityPolicy: unable to admit pod: [spec.securityContext.hostNetwork: Invalid value: true: Host network is not allowed to be used]",
            "spec.securityContext.hostNetwork: Invalid value: true: Host network is not allowed to be used",
        ),
        (
            "pods \"cart-1\" is forbidden: maximum memory usage per Container is 512Mi, but limit is 2Gi",
            "maximum memory usage per Container is 512Mi, but limit is 2Gi",
        ),
        (
            "pods \"cart-1\" is forbidden: No API token found for service account \"default\", retry after the token is automatically created",
            "ServiceAccount default has no token yet",
        ),
        (
            "pods \"cart-1\" is forbidden: error looking up service account shop/builder: serviceaccount \"builder\" not found",
            "ServiceAccount builder does not exist",
        ),
        (
            "pods \"cart-1\" is forbidden: pod rejected: RuntimeClass \"nvidia\" not found",
            "RuntimeClass nvidia does not exist",
        ),
        (
            "pods \"cart-1\" is forbidden: no PriorityClass with name high was found",
            "PriorityClass high does not exist",
        ),
        (
            "pods \"cart-1\" is forbidden: unable to create new content in namespace shop because it is being terminated",
            "namespace shop is being deleted",
        ),
        ("object is being deleted: pods \"db-0\" already exists", "the old pod with that name still exists"),
        (
            "Pod \"cart-1\" is invalid: spec.containers[0].image: Required value",
            "spec.containers[0].image: Required value",
        ),
        ("pods \"db-0\" already exists", "a pod with that name already exists"),
        (
            "pods \"cart-1\" is forbidden: pod node label selector conflicts with its namespace node label selector",
            "pod node label selector conflicts with its namespace node label selector",
        ),
        (
            "pods is forbidden: User \"system:serviceaccount:ci:runner\" cannot create resource \"pods\" in API group \"\" in the namespace \"shop\"",
            "User \"system:serviceaccount:ci:runner\" cannot create resource \"pods\" in API group \"\" in the namespace \"shop\"",
        ),
        ("Internal error occurred: etcdserver: request timed out", "etcdserver: request timed out"),
    ];

    fn refused(message: &str) -> Finding {
        let meta =
            ObjectMeta { namespace: "shop".to_owned(), name: "cart".to_owned(), ..ObjectMeta::default() };
        let of = WorkloadRef { kind: "Deployment".to_owned(), name: "cart".to_owned() };
        failed_create("pods", &meta, &of, message, Some((0, 3)))
    }

    #[test]
    fn every_rule_has_a_sample_that_it_takes_and_says_in_the_first_line() {
        assert_eq!(SAMPLES.len(), RULES.len());
        for ((message, said), rule) in SAMPLES.iter().zip(RULES) {
            assert!(std::ptr::eq(rule_for(message), rule), "another rule takes {message}");
            let finding = refused(message);
            assert!(finding.summary.contains(said), "{said:?} is not in: {}", finding.summary);
            assert_eq!(finding.cause.code, rule.code);
            assert!(!finding.next_steps.is_empty());
        }
    }

    #[test]
    fn what_no_rule_knows_is_quoted_whole() {
        let finding = refused("Error creating: something entirely new: widget 7 is out of phase");
        let said = "pods of Deployment cart cannot be created (0 of 3 ready): something entirely new: widget 7 is out of phase";
        assert_eq!(finding.summary, said);
        assert_eq!(finding.cause.code, CauseCode::CreateRefused);
    }

    #[test]
    fn names_decide_nothing() {
        for message in [
            "pods \"timeout-api-1\" is forbidden: something new",
            "pods \"etcdserver-0\" is forbidden: volume /var/timeout is odd",
        ] {
            assert!(std::ptr::eq(rule_for(message), &raw const UNKNOWN), "{message}");
        }
    }

    #[test]
    fn a_webhook_that_answers_nonsense_is_at_fault_and_not_the_pod() {
        let finding = refused(
            "Internal error occurred: failed calling webhook \"inject.example.com\": failed to call webhook: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=",
        );
        assert!(
            finding.summary.contains(
                "admission webhook inject.example.com gives no valid answer: expected webhook response"
            ),
            "{}",
            finding.summary
        );
    }
}

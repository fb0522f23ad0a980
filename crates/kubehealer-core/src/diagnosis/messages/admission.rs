//! Why the API server does not take a pod: quotas, pod security, webhooks, the server itself.

use super::generic::Fact;
use super::{Of, Rule, rule};
use crate::diagnosis::cause::CauseCode as C;

const WEBHOOKS: &str = "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations";

/// First match wins. `named("webhook \"", "\"")` of the message has the webhook's name.
pub const RULES: &[Rule] = &[
    rule("quota used up", C::QuotaExceeded).any(&["exceeded quota", "exceeds quota"]).of(Of::Namespace),
    rule("quota wants limits", C::QuotaExceeded)
        .any(&["must specify limits", "must specify requests", "failed quota"])
        .of(Of::Namespace)
        .only(&["set the named requests and limits in the pod template, or give the namespace a LimitRange with defaults", "kubectl -n {namespace} describe resourcequota"]),
    rule("scoped quota", C::QuotaExceeded)
        .any(&["priorityclass is not permitted", "insufficient quota to match these scopes"])
        .of(Of::Namespace)
        .note("a system PriorityClass needs a ResourceQuota that names it"),
    rule("limit range", C::AdmissionDenied)
        .any(&["usage per container", "usage per pod", "limit to request ratio"])
        .of(Of::Namespace)
        .note("LimitRange of the namespace")
        .only(&["kubectl -n {namespace} describe limitrange"]),
    rule("PodSecurity", C::AdmissionDenied).any(&["violates podsecurity"]).of(Of::Namespace),
    rule("PodSecurityPolicy", C::AdmissionDenied)
        .any(&["podsecuritypolicy", "no providers available"])
        .of(Of::Namespace)
        .only(&["kubectl get podsecuritypolicies",
            "the pod's ServiceAccount needs the use right on a policy that allows it"]),
    rule("SecurityContextConstraints", C::AdmissionDenied)
        .any(&["security context constraint"])
        .of(Of::Namespace)
        .only(&["kubectl get scc",
            "the pod's ServiceAccount needs the use right on one that allows it: oc adm policy who-can use scc"]),
    rule("ValidatingAdmissionPolicy", C::AdmissionDenied)
        .any(&["validatingadmissionpolicy"])
        .only(&["kubectl get validatingadmissionpolicies,validatingadmissionpolicybindings"]),
    rule("webhook denied", C::WebhookDenied).all(&["admission webhook", "denied the request"]).only(&["change what the webhook objects to in the pod template, or exempt the namespace", WEBHOOKS]),
    rule("webhook certificate", C::WebhookDenied)
        .all(&["failed calling webhook"])
        .fact(&[Fact::Tls])
        .only(&["renew the webhook's certificate, and the caBundle that belongs to it (cert-manager does both)", WEBHOOKS]),
    rule("webhook without endpoints", C::WebhookDenied)
        .all(&["failed calling webhook"])
        .any(&["no endpoints available", "connection refused", "no service port", "service \""])
        .note("the webhook's service has no ready pod, or does not exist"),
    rule("webhook unreachable", C::WebhookDenied)
        .all(&["failed calling webhook"])
        .fact(&[Fact::TimeOut, Fact::Unreachable, Fact::Reset, Fact::Dns])
        .note("the API server does not reach the webhook")
        .only(&["check that the control plane may reach the webhook's pods (firewall, host network, its port)", WEBHOOKS]),
    rule("webhook answer", C::WebhookDenied)
        .all(&["webhook"])
        .any(&["failed calling webhook", "invalid response", "expected webhook response", "returned non-"])
        .only(&["look at the log of the webhook's pod", WEBHOOKS]),
    // A JSON patch comes only from a mutating webhook, whose name the API server leaves out.
    rule("webhook patch", C::WebhookDenied)
        .any(&["operation does not apply", "invalid json patch", "json: cannot unmarshal", "doc is missing path"])
        .note("the patch of a mutating admission webhook does not fit the pod")
        .only(&["kubectl get mutatingwebhookconfigurations",
            "find the one that adds that path, and update it or exempt the namespace"]),
    rule("token of the account", C::MissingServiceAccount).any(&["no api token found"]).of(Of::Namespace),
    rule("service account", C::MissingServiceAccount).any(&["serviceaccount \"", "service account "]).fact(&[Fact::NotFound]),
    rule("RuntimeClass", C::CreateRefused).all(&["runtimeclass", "not found"]).only(&["kubectl get runtimeclasses"]),
    rule("PriorityClass", C::CreateRefused).all(&["priorityclass", "was found"]).only(&["kubectl get priorityclasses"]),
    rule("invalid spec", C::InvalidConfiguration).any(&["\" is invalid: ", " is invalid: "]).only(&["correct that field in the pod template"]),
    rule("node selector of the namespace", C::CreateRefused).any(&["node label selector conflicts"]).of(Of::Namespace),
    rule("terminating namespace", C::CreateRefused).any(&["it is being terminated"]).of(Of::Namespace).note("the namespace is being deleted"),
    rule("old pod", C::CreateRefused).any(&["already exists"]).note("the old pod of that name is not gone yet"),
    rule("API server", C::CreateRefused).any(&["etcdserver"]).fact(&[Fact::TimeOut, Fact::RateLimited, Fact::ServerError]).note("the API server itself has trouble"),
    rule("API server slow", C::CreateRefused).fact(&[Fact::TimeOut, Fact::RateLimited]).note("the API server itself has trouble"),
];

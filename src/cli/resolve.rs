//! Whatever name a user has leads to pods: those behind a Service, an Ingress, an autoscaler. What can be told from the pods and
//! their owners alone is told by [`crate::select`].

use kube::Client;

use super::Trouble;
use crate::cluster::client::Failure;
use crate::cluster::snapshot;
use crate::select::{Kind, Members, Target};

const BY_LABEL: &str = "select its pods by their labels: -l KEY=VALUE";

/// Puts what the targets stand for in their place, and says how.
pub(super) async fn resolve(
    client: &Client,
    targets: Vec<Target>,
    namespace: Option<&str>,
) -> Result<(Vec<Target>, Vec<String>), Trouble> {
    let (mut resolved, mut how) = (Vec::new(), Vec::new());
    for target in targets {
        match target.known_kind() {
            Some(Kind::Service) => resolved.push(service(client, target, namespace, &mut how).await?),
            Some(Kind::Ingress) => {
                let place = place(&target, namespace)?;
                let services = snapshot::ingress_services(client, place, &target.name).await;
                let services = services.map_err(|failure| failed(&target, &failure))?;
                if services.is_empty() {
                    return Err(Trouble::new(format_args!("{target} has no Service behind it"), BY_LABEL));
                }
                how.push(format!("{target}: service/{}", services.join(", service/")));
                for name in services {
                    let of = target.beside(Kind::Service.name(), &name, Vec::new());
                    resolved.push(service(client, of, namespace, &mut how).await?);
                }
            }
            Some(Kind::Autoscaler) => {
                let place = place(&target, namespace)?;
                let scaled = snapshot::scaled_by(client, place, &target.name).await;
                let (kind, name) = scaled.map_err(|failure| failed(&target, &failure))?;
                let of = target.beside(&kind, &name, Vec::new());
                how.push(format!("{target}: {of}"));
                resolved.push(of);
            }
            _ => resolved.push(target),
        }
    }
    Ok((resolved, how))
}

/// A Service with what its pods have.
async fn service(
    client: &Client,
    target: Target,
    namespace: Option<&str>,
    how: &mut Vec<String>,
) -> Result<Target, Trouble> {
    let place = place(&target, namespace)?;
    let labels = snapshot::service_labels(client, place, &target.name).await;
    let labels = labels.map_err(|failure| failed(&target, &failure))?;
    if labels.is_empty() {
        return Err(Trouble::new(format_args!("{target} selects no pods: it has no selector"), BY_LABEL));
    }
    let terms: Vec<String> = labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    let text = terms.join(",");
    how.push(format!("{target}: pods with the labels {text}"));
    let selector = text.parse().map_err(|e| Trouble::new(format_args!("{target}: {e}"), BY_LABEL))?;
    Ok(Target { members: vec![Members::Pods(selector)], ..target })
}

/// In which namespace a target is.
fn place<'t>(target: &'t Target, namespace: Option<&'t str>) -> Result<&'t str, Trouble> {
    let nowhere = || {
        Trouble::new(format_args!("{target}: in which namespace?"), format_args!("write NAMESPACE/{target}"))
    };
    target.namespace.as_deref().or(namespace).ok_or_else(nowhere)
}

fn failed(target: &Target, failure: &Failure) -> Trouble {
    Trouble::new(format_args!("{target}: {}", failure.text), BY_LABEL)
}

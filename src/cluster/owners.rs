//! Kinds that this program has no types for: what the API server calls them, and who owns their objects.
//!
//! Discovery and metadata are read, nothing else.

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::discovery::{Discovery, Scope};

use super::client::Failure;
use crate::objects::OwnerReference;

/// The kinds of a cluster.
pub struct Kinds {
    client: Client,
    kinds: Vec<(ApiResource, Scope)>,
}

impl Kinds {
    pub async fn discover(client: &Client) -> Result<Self, Failure> {
        let discovery = || Discovery::new(client.clone());
        let discovery = match discovery().run_aggregated().await {
            Ok(all) if all.groups().next().is_some() => all,
            // Servers before Kubernetes 1.27 are asked group by group.
            _ => discovery().run().await.map_err(|error| Failure::of(&error))?,
        };
        let kinds = discovery.groups().flat_map(|group| group.recommended_resources());
        let kinds = kinds.map(|(resource, capabilities)| (resource, capabilities.scope)).collect();
        Ok(Self { client: client.clone(), kinds })
    }

    /// The kinds that a word means: a kind or its plural, perhaps with its group behind a dot. Groups may have kinds of one name.
    pub fn named(&self, word: &str) -> Vec<&str> {
        let (name, group) = word.split_once('.').unwrap_or((word, ""));
        let own = |text: &str| text.eq_ignore_ascii_case(name);
        let named = self.kinds.iter().filter(|(r, _)| {
            (own(&r.kind) || own(&r.plural)) && (group.is_empty() || r.group.eq_ignore_ascii_case(group))
        });
        let mut kinds: Vec<&str> = named.map(|(resource, _)| resource.kind.as_str()).collect();
        kinds.dedup();
        kinds
    }

    /// The names of all kinds.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.kinds.iter().map(|(resource, _)| resource.kind.as_str())
    }

    /// The owners of an object; none if there is no such object. Without a uid any object of that kind and name will do.
    pub async fn owners_of(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<Option<Vec<OwnerReference>>, Failure> {
        for (resource, scope) in self.kinds.iter().filter(|(resource, _)| resource.kind == kind) {
            let api: Api<DynamicObject> = match scope {
                Scope::Cluster => Api::all_with(self.client.clone(), resource),
                Scope::Namespaced => Api::namespaced_with(self.client.clone(), namespace, resource),
            };
            let found = api.get_metadata_opt(name).await.map_err(|error| Failure::of(&error))?;
            let Some(metadata) = found.map(|object| object.metadata) else { continue };
            if uid.is_empty() || metadata.uid.as_deref() == Some(uid) {
                let owners = metadata.owner_references.unwrap_or_default().into_iter();
                let owners = owners.map(|o| OwnerReference {
                    kind: o.kind,
                    name: o.name,
                    uid: o.uid,
                    controller: o.controller,
                });
                return Ok(Some(owners.collect()));
            }
        }
        Ok(None)
    }
}

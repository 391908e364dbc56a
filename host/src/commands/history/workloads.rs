//! Which workload an object belongs to: a pod names its ReplicaSet as its owner, and the log has the creation of the ReplicaSet, which names
//! its Deployment.

use std::collections::{HashMap, VecDeque};

use super::record::{Object, Request};

/// The most owners that are remembered.
const MAX_OWNERS: usize = 100_000;
/// The most bytes of an owner that is remembered. Names of Kubernetes have at most 253 characters.
const MAX_OWNER: usize = 1024;
/// The most owners that are followed from an object up.
const MAX_DEPTH: usize = 4;

/// The owners of objects that are not pods, as far as the log has them.
#[derive(Debug, Default)]
pub(super) struct Workloads {
    /// By namespace and object.
    owners: HashMap<(String, String), String>,
    /// In the order in which they were learned.
    order: VecDeque<(String, String)>,
}

impl Workloads {
    /// Remembers the owner of the object of a request.
    pub(super) fn learn(&mut self, request: &Request) {
        let object = &request.object;
        let (Some(name), Some(owner)) = (&object.name, &object.owner) else { return };
        let is_long = name.len() > MAX_OWNER || owner.len() > MAX_OWNER;
        if object.kind == "Pod" || !request.outcome.is_stored() || is_long {
            return;
        }
        let key = (object.namespace.clone(), format!("{}/{name}", object.kind));
        if self.owners.insert(key.clone(), owner.clone()).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > MAX_OWNERS
            && let Some(first) = self.order.pop_front()
        {
            self.owners.remove(&first);
        }
    }

    /// The object and what controls it, as `Kind/name`, from the object up.
    pub(super) fn chain(&self, object: &Object) -> Vec<String> {
        let mut chain: Vec<String> = object.name.iter().map(|name| format!("{}/{name}", object.kind)).collect();
        let mut next = object.owner.clone();
        while let Some(owner) = next.filter(|_| chain.len() <= MAX_DEPTH) {
            next = self.owners.get(&(object.namespace.clone(), owner.clone())).cloned();
            chain.push(owner);
        }
        chain
    }
}

//! Docker Swarm's services, as the policy judges them.

pub(crate) mod engine_json;
pub(crate) mod pod;

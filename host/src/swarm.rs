//! Docker Swarm's services, as the policy judges them.

pub mod pod;

//! The sampler against the exact executor, on random graphs and random trees, and against the
//! distribution that its documentation promises.

mod cases;
mod distribution;
mod epochs;
mod exactness;
mod faults;

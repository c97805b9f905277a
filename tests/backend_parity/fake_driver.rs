//! The code for NVIDIA's driver, with a driver that stands in for it: the tests of the module `cuda`, several at a time on
//! one device. Work that is not ordered by streams and events is done in the wrong order (see
//! `tests/fake_cuda/driver.cpp`).

use crate::common::gpu::tests_on_fake_driver;

#[test]
fn operations_agree_where_copies_run_as_early_as_they_may() {
    tests_on_fake_driver("cuda::", "early");
}

#[test]
fn operations_agree_where_copies_run_as_late_as_they_may() {
    tests_on_fake_driver("cuda::", "late");
}

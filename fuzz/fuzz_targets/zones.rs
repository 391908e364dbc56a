#![no_main]

use container_patch_testing::targets;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(failure) = targets::zones(bytes) {
        panic!("{failure}");
    }
});

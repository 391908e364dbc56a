//! The stored inputs of the fuzz targets: `regressions/` has inputs of earlier failures, `fuzz/seeds/` those that fuzzing begins
//! with.

use std::fs;
use std::path::Path;

use container_patch_testing::targets;

#[test]
fn every_seed_and_every_regression_passes_its_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, target) in targets::ALL {
        let seeds = root.join("../fuzz/seeds").join(name);
        let regressions = root.join("regressions").join(name);
        let mut inputs = 0;
        for folder in [&seeds, &regressions].into_iter().filter(|folder| folder.exists()) {
            for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
                let path = entry.unwrap().path();
                let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                if let Err(failure) = target(&bytes) {
                    panic!("{}: {failure}", path.display());
                }
                inputs += 1;
            }
        }
        assert!(inputs > 0, "{} has no inputs", seeds.display());
    }
}

#[test]
fn every_target_has_a_fuzz_binary() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    for (name, _) in targets::ALL {
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "fuzz/Cargo.toml has no target {name}");
    }
}

#[test]
fn every_folder_of_inputs_belongs_to_a_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in [root.join("../fuzz/seeds"), root.join("regressions")] {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let name = entry.unwrap().file_name();
            assert!(
                targets::ALL.iter().any(|(known, _)| name == *known),
                "{} in {} is not a target",
                name.display(),
                folder.display()
            );
        }
    }
}

//! How a build id is made: from which files, in which order. Build scripts, of the fuzz bodies too, use it on the working tree,
//! and [`super::history`] on the trees of commits; so this file may use nothing of the crate.

/// The packages whose sources decide what a run does, from the workspace root.
pub const PACKAGES: [&str; 3] = ["core", "node/transport", "sim"];

/// Collects what makes a build.
pub struct Recipe {
    hasher: blake3::Hasher,
}

impl Recipe {
    /// Nothing yet; `purpose` keeps ids of different kinds apart.
    pub fn new(purpose: &str) -> Recipe {
        Recipe { hasher: blake3::Hasher::new_derive_key(purpose) }
    }

    /// Adds one named part; the lengths keep two different lists from giving the same bytes.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        for part in [name.as_bytes(), bytes] {
            self.hasher.update(&(part.len() as u64).to_le_bytes());
            self.hasher.update(part);
        }
    }

    /// 64 hexadecimal digits.
    pub fn finish(self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}

/// The files of these packages in the order in which they count, out of all files of a tree: paths from the root, with forward slashes.
pub fn sources<'a>(packages: &[&str], tree: impl Iterator<Item = &'a str> + Clone) -> Vec<&'a str> {
    let mut files: Vec<&str> = tree.clone().filter(|path| *path == "Cargo.lock").collect();
    for package in packages {
        files.extend(of_package(package, tree.clone()));
    }
    files
}

/// `Cargo.toml`, `build.rs` if any, and everything under `src`, sorted, without what a failed snapshot test left there.
pub fn of_package<'a>(package: &str, tree: impl Iterator<Item = &'a str> + Clone) -> Vec<&'a str> {
    let named = |name: &str| {
        let path = format!("{package}/{name}");
        tree.clone().filter(move |file| *file == path)
    };
    let mut files: Vec<&str> = named("Cargo.toml").chain(named("build.rs")).collect();
    let source = format!("{package}/src/");
    let leftover = |path: &str| path.ends_with(".snap.new") || path.ends_with(".pending-snap");
    let mut below: Vec<&str> =
        tree.filter(|path| path.starts_with(&source) && !leftover(path)).collect();
    below.sort_unstable();
    files.extend(below);
    files
}

/// The build id of these files, compiled by this compiler with these features.
pub fn build_id<'a>(
    files: impl Iterator<Item = (&'a str, &'a [u8])>,
    compiler: &str,
    features: &str,
) -> String {
    let mut recipe = Recipe::new("fairway-sim build id v2");
    files.for_each(|(path, bytes)| recipe.add(path, bytes));
    recipe.add("rustc", compiler.as_bytes());
    recipe.add("features", features.as_bytes());
    recipe.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_build_have_one_order_and_leftovers_are_none() {
        let tree = [
            "Cargo.lock",
            "Cargo.toml",
            "core/src/lib.rs",
            "core/src/.lib.rs.pending-snap",
            "core/src/a/b.snap.new",
            "core/src/a/b.snap",
            "core/tests/golden.rs",
            "core/Cargo.toml",
            "sim/build.rs",
            "sim/src/main.rs",
            "sim/Cargo.toml",
            "README.md",
        ];
        let expected = [
            "Cargo.lock",
            "core/Cargo.toml",
            "core/src/a/b.snap",
            "core/src/lib.rs",
            "sim/Cargo.toml",
            "sim/build.rs",
            "sim/src/main.rs",
        ];
        assert_eq!(sources(&PACKAGES, tree.into_iter()), expected);
    }
}

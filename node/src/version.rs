//! What this binary is.

use serde::Serialize;

/// Everything that tells two builds apart.
#[derive(Debug, Serialize)]
pub struct Version {
    /// The package's version.
    pub version: &'static str,
    /// The git commit, where it was built from a checkout.
    pub commit: Option<&'static str>,
    /// The compiler.
    pub rustc: &'static str,
    /// The target triple.
    pub target: &'static str,
    /// Cargo's profile.
    pub profile: &'static str,
    /// `--cfg` flags that change what is compiled; a release has none.
    pub cfgs: Vec<&'static str>,
    /// Features of core that are compiled in; a release has none.
    pub features: Vec<&'static str>,
    /// Whether planted bugs are compiled in. Such a build must never hold money.
    pub mutants_compiled: bool,
    /// BLAKE3 over core's sources; the simulator states the same in its reports.
    pub core_digest: &'static str,
    /// Wire versions that it speaks, oldest and newest.
    pub wire_versions: [u16; 2],
    /// The version of the log format that it writes.
    pub log_format: u16,
}

impl Version {
    /// This binary.
    pub fn this() -> Version {
        let commit = env!("BUILD_COMMIT");
        let mutants_compiled = fairway_core::MUTANTS_COMPILED;
        let cfgs = [("madsim", cfg!(madsim)), ("tokio_unstable", cfg!(tokio_unstable))];
        let wire = fairway_core::wire::WIRE_VERSIONS;
        Version {
            version: env!("CARGO_PKG_VERSION"),
            commit: (!commit.is_empty()).then_some(commit),
            rustc: env!("BUILD_RUSTC"),
            target: env!("BUILD_TARGET"),
            profile: env!("BUILD_PROFILE"),
            cfgs: cfgs.into_iter().filter_map(|(name, on)| on.then_some(name)).collect(),
            features: mutants_compiled.then_some("core/simulation").into_iter().collect(),
            mutants_compiled,
            core_digest: env!("BUILD_CORE_DIGEST"),
            wire_versions: [*wire.start(), *wire.end()],
            log_format: fairway_core::log::FORMAT_VERSION,
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let list = |items: &[&str]| if items.is_empty() { "none".into() } else { items.join(", ") };
        let rows = [
            ("commit", self.commit.unwrap_or("unknown").to_string()),
            ("rustc", self.rustc.to_string()),
            ("target", self.target.to_string()),
            ("profile", self.profile.to_string()),
            ("cfgs", list(&self.cfgs)),
            ("features", list(&self.features)),
            ("planted bugs", if self.mutants_compiled { "compiled in" } else { "none" }.into()),
            ("core digest", self.core_digest.to_string()),
            ("wire versions", format!("{} to {}", self.wire_versions[0], self.wire_versions[1])),
            ("log format", self.log_format.to_string()),
        ];
        let lines = rows.iter().map(|(name, value)| format!("{name:14} {value}\n"));
        format!("fairway {}\n{}", self.version, lines.collect::<String>())
    }
}

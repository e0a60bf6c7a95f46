//! Compiles the program for the kernel with clang.

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    #[cfg(feature = "bpf")]
    compile();
}

#[cfg(feature = "bpf")]
fn compile() {
    let variable = std::env::var_os;
    let (Some(out), Some(folder)) = (variable("OUT_DIR"), variable("CARGO_MANIFEST_DIR")) else {
        return;
    };
    // The same object wherever it is built: line numbers name files below this folder.
    let mut relative = std::ffi::OsString::from("-fdebug-prefix-map=");
    relative.push(folder);
    relative.push("=.");
    let built = libbpf_cargo::SkeletonBuilder::new()
        .source("bpf/weirgate.bpf.c")
        .obj(std::path::PathBuf::from(out).join("weirgate.bpf.o"))
        .clang_args([
            "-mcpu=v3".into(),
            "-Wall".into(),
            "-Werror".into(),
            relative,
        ])
        .build();
    if let Err(error) = built {
        println!("cargo::error=cannot compile bpf/weirgate.bpf.c: {error:#}");
        println!(
            "cargo::error=it needs clang 14 or later: apt-get install clang libelf-dev zlib1g-dev pkg-config"
        );
    }
}

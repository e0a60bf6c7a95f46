//! Compiles the program for the kernel with clang.

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    #[cfg(feature = "bpf")]
    compile();
}

#[cfg(feature = "bpf")]
fn compile() {
    let Some(out) = std::env::var_os("OUT_DIR") else {
        return;
    };
    let built = libbpf_cargo::SkeletonBuilder::new()
        .source("bpf/weirgate.bpf.c")
        .obj(std::path::PathBuf::from(out).join("weirgate.bpf.o"))
        .clang_args(["-mcpu=v3", "-Wall", "-Werror"])
        .build();
    if let Err(error) = built {
        println!("cargo::error=cannot compile bpf/weirgate.bpf.c: {error:#}");
        println!(
            "cargo::error=it needs clang 14 or later: apt-get install clang libelf-dev zlib1g-dev pkg-config"
        );
    }
}

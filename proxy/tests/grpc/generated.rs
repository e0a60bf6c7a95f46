//! The code of the messages is made from the proto file by hand, so that nobody
//! who builds needs a compiler for it: `WEIRGATE_GENERATE=1 cargo test -p
//! weirgate-proxy --features grpc --test grpc` writes it anew.

use std::path::Path;

use prost::Message as _;

#[test]
fn the_generated_code_is_that_of_the_proto_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let set = protox::compile(["aioshadowsocks.proto"], [root.join("proto")]).unwrap();
    let descriptors = set.encode_to_vec();
    tonic_prost_build::configure()
        .out_dir(out.path())
        .compile_fds(set)
        .unwrap();
    let code = std::fs::read(out.path().join("aioshadowsocks.rs")).unwrap();
    for (file, made) in [
        ("aioshadowsocks.rs", code),
        ("aioshadowsocks.bin", descriptors),
    ] {
        let path = root.join("src/shadowsocks/grpc").join(file);
        if std::env::var_os("WEIRGATE_GENERATE").is_some() {
            std::fs::write(&path, made).unwrap();
        } else {
            let kept = std::fs::read(&path).unwrap();
            assert!(kept == made, "{file} is not what the proto file makes");
        }
    }
}

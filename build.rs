//! Compiles the protocol files with protox, so that no protoc is needed on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/hufu/v1/people.proto", "proto/hufu/peer/v1/peer.proto"];
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().build_transport(false).bytes(".hufu.peer.v1.Sealed").compile_fds(descriptors)?;
    Ok(())
}

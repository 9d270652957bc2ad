//! The one binary.

/// Nodes allocate in small pieces on many threads: glibc's arenas cost a tenth of a publish there, and give little back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    hufu::cli::main()
}

//! The one binary.

fn main() -> std::process::ExitCode {
    hufu::cli::main()
}

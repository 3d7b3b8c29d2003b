//! The build script: the stand-in carries no symbols. The guard reads the whole runner for its
//! digest before each launch, and symbols are two thirds of the file.

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
}

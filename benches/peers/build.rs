//! Compiles the C++ peer: the public header's own code behind a C interface, as any C++ program would get it.

fn main() {
    let include = "../../shm/include";
    println!("cargo:rerun-if-changed={include}");
    cc::Build::new().cpp(true).std("c++20").include(include).file("cpp/peer.cpp").compile("pillion_peer");
}

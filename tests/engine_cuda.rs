//! A GPU that is not there, or only in part: what is said, key by key and library by library. What a run on one does is tested
//! beside the engine itself, against a CUDA runtime without a GPU.

mod model_support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use model_support::{child, compile, is_child, runtime_is_here, skip};
use pillion::config::{Config, Device, OnMissing};
use pillion::engine::cuda::{PROVIDER, available};
use pillion::engine::{CudaOptions, OrtCuda, Runtime, RuntimeConfig, Shape};

#[test]
fn keys_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    for (line, texts) in [
        ("device = \"gpu\"", ["lane.device", "\"gpu\" is neither \"cpu\" nor a GPU from \"cuda:0\" to \"cuda:63\""]),
        ("device = \"cuda:64\"", ["lane.device", "\"cuda:64\" is neither"]),
        ("device = 0", ["lane.device", "invalid type: integer `0`"]),
        ("graphs = \"yes\"", ["lane.graphs", "expected a boolean"]),
        ("tf32 = 1", ["lane.tf32", "expected a boolean"]),
        ("on_missing = \"gpu\"", ["lane.on_missing", "unknown variant `gpu`, expected `fail` or `cpu`"]),
        ("on_mising = \"cpu\"", ["unknown key `lane.on_mising`", "on_missing"]),
    ] {
        fs::write(&config, format!("[lane]\n{line}\n")).unwrap();
        let out =
            Command::new(env!("CARGO_BIN_EXE_pillion")).arg("check").arg("--config").arg(&config).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{line}");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        for text in texts.iter().chain(&["config.toml", "line 2", "mend: "]) {
            assert!(said.contains(text), "{line}: no {text:?} in: {said}");
        }
    }
}

#[test]
fn a_lane_reads_its_gpu_and_keeps_it_when_written() {
    let lane = |text: &str| Config::parse(text, "here", Path::new("/")).unwrap().lanes.remove(0);
    let default = lane("");
    assert_eq!((default.device, default.on_missing, default.cuda()), (Device::Cpu, OnMissing::Fail, None));
    let text = "[lane]\ndevice = \"cuda:2\"\ngraphs = false\ntf32 = true\non_missing = \"cpu\"\n";
    let wanted = Some(CudaOptions { device: 2, graphs: false, tf32: true });
    assert_eq!((lane(text).on_missing, lane(text).cuda()), (OnMissing::Cpu, wanted));
    let again = Config::parse(text, "here", Path::new("/")).unwrap().to_toml();
    assert_eq!(lane(&again).cuda(), wanted);
    assert_eq!(lane("[lane]\ndevice = \"cuda:0\"\n").cuda(), Some(CudaOptions::default()));
}

/// Says whether the GPU of this number could be used, and what a model says there.
#[test]
#[ignore = "a child of the other test"]
fn child_asks() {
    if !is_child() {
        return;
    }
    // Providers of the tests' own making stand in for the pinned ones.
    let allow_unpinned = std::env::var_os("PILLION_TEST_PINNED").is_none();
    let runtime = Runtime::open(&RuntimeConfig { allow_unpinned, ..RuntimeConfig::default() }).unwrap();
    let device = std::env::var("PILLION_TEST_DEVICE").map_or(0, |n| n.parse().unwrap());
    println!("available: {:?}", available(runtime, device));
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zoo/gemm.onnx");
    let shape = Shape::vector("x", 7, "y", 5);
    let options = CudaOptions { device, ..CudaOptions::default() };
    match OrtCuda::new(runtime, &fs::read(zoo).unwrap(), &shape, &options) {
        Ok(_) => println!("model: ok"),
        Err(error) => println!("model: {error}"),
    }
}

/// One thing after the other is put there, up to a provider that the library was not built for.
#[test]
fn what_is_missing_is_named_with_what_mends_it() {
    if !runtime_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let real = Runtime::open(&RuntimeConfig::default()).unwrap().path();
    symlink(real, at("libonnxruntime.so.1.31.1")).unwrap();
    let asks_of = |device: &str, pinned: Option<(&str, &str)>| {
        let mut command: Command = child(&std::env::current_exe().unwrap(), "child_asks");
        command.envs(pinned);
        command.env("ORT_DYLIB_PATH", folder.path()).env("LD_LIBRARY_PATH", folder.path());
        let out = command.env("PILLION_TEST_DEVICE", device).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).replace('\\', "")
    };
    let asks = |device: &str| asks_of(device, None);
    #[track_caller]
    fn said(text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "no {part:?} in: {text}");
        }
    }
    let fetch = "run scripts/fetch-onnxruntime --gpu, or set on_missing = \"cpu\"";
    said(&asks("0"), &["libonnxruntime_providers_cuda.so is not beside", "libonnxruntime.so.1.31.1", fetch]);
    fs::write(at(PROVIDER), "not a library").unwrap();
    said(&asks("0"), &["libonnxruntime_providers_shared.so is not beside", fetch]);
    fs::write(at("libonnxruntime_providers_shared.so"), "not a library").unwrap();
    let pinned = Some(("PILLION_TEST_PINNED", "1"));
    said(&asks_of("0", pinned), &["libonnxruntime_providers_cuda.so has SHA-256", "no pinned wheel", fetch]);
    let text = asks("0");
    if !text.contains("the NVIDIA driver does not load") {
        return skip("this machine has an NVIDIA driver");
    }
    said(&text, &["libcuda.so.1: cannot open shared object file", "install it, or set on_missing = \"cpu\""]);
    let empty = |name: &str| compile("empty.c", &[], &at(name));
    if empty("libcuda.so.1").is_none() {
        return;
    }
    let libraries = "install CUDA 13 and cuDNN 9, or put their folders into LD_LIBRARY_PATH, or set on_missing";
    said(&asks("0"), &["the CUDA runtime libcudart.so.13: libcudart.so.13: cannot open shared object", libraries]);
    empty("libcudart.so.13");
    said(&asks("0"), &["the CUDA runtime libcudart.so.13: it has no cudaGetDeviceCount", libraries]);
    fs::remove_file(at("libcudart.so.13")).unwrap();
    compile("cudart.c", &[], &at("libcudart.so.13"));
    for name in ["libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10", "libcufft.so.12", "libcudnn.so.9"] {
        said(&asks("0"), &[&format!("{name} does not load ({name}: cannot open"), libraries]);
        empty(name);
    }
    said(&asks("2"), &["device = \"cuda:2\" of 2: name one from cuda:0 to cuda:1, or set on_missing"]);
    // All is there by name, but ONNX Runtime is the build for the CPU.
    said(&asks("1"), &["available: Ok(())", "model: ", "not enabled in this build", fetch]);
}

//! The GPU's road without a GPU: sizes, order and fate of what is allocated and copied, through a CUDA runtime that keeps a log.

use std::path::Path;

use super::super::cudart::Fake;
use super::*;
use crate::engine::{RuntimeConfig, RuntimeError};

fn runtime() -> Option<&'static Runtime> {
    match Runtime::open(&RuntimeConfig::default()) {
        Ok(runtime) => Some(runtime),
        Err(error @ RuntimeError::Missing { .. }) => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn zoo(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/zoo/{name}.onnx"))).unwrap()
}

/// `gemm` of the zoo: 7 features to 5 values, the batch open. The session is the CPU's, its device memory the fake's.
fn engine(runtime: &Runtime, fake: &Fake, options: CudaOptions) -> Result<OrtCuda, EngineError> {
    let memory = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default).unwrap();
    let (onnx, shape) = (zoo("gemm"), Shape::vector("x", 7, "y", 5));
    OrtCuda::over(runtime, &onnx, &shape, options, Arc::clone(&fake.api), memory, |_| {
        options::builder(runtime, true)?.commit_from_memory(&onnx).map_err(EngineError::refused)
    })
}

fn both() -> Option<(&'static Runtime, Fake)> {
    Some((runtime()?, Fake::open()?))
}

#[test]
fn options_become_the_providers_keys_and_values() {
    let said = |options: CudaOptions| {
        let pairs: Vec<String> = options.provider().iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(" ")
    };
    let rest = "cudnn_conv_algo_search=HEURISTIC arena_extend_strategy=kSameAsRequested";
    let default = CudaOptions::default();
    assert_eq!(said(default), format!("device_id=0 enable_cuda_graph=1 use_tf32=0 {rest}"));
    let other = CudaOptions { device: 3, graphs: false, tf32: true };
    assert_eq!(said(other), format!("device_id=3 enable_cuda_graph=0 use_tf32=1 {rest}"));
}

#[test]
fn a_device_is_the_cpu_or_a_gpu_by_number() {
    let device = |text: &str| Device::try_from(text.to_owned());
    for good in ["cpu", "cuda:0", "cuda:63"] {
        assert_eq!(device(good).unwrap().to_string(), good);
    }
    for bad in ["", "cuda", "cuda:", "cuda:64", "cuda:-1", "cuda:+1", "cuda:000", "gpu", "CPU", "cuda:0 "] {
        assert!(device(bad).unwrap_err().contains("\"cuda:63\""), "{bad}");
    }
}

#[test]
fn where_the_gpu_is_missing_the_lane_fails_or_says_why_it_runs_on_the_cpu() {
    let missing = || Err("no driver".to_owned());
    assert_eq!(OnMissing::Fail.decide(Ok(())), Ok(None));
    assert_eq!(OnMissing::Cpu.decide(Ok(())), Ok(None));
    assert_eq!(OnMissing::Fail.decide(missing()), Err("no driver".into()));
    assert_eq!(OnMissing::Cpu.decide(missing()), Ok(Some("no driver".into())));
}

#[test]
fn a_run_is_one_copy_there_the_launch_one_copy_back_and_the_wait() {
    let Some((runtime, fake)) = both() else { return };
    let mut engine = engine(runtime, &fake, CudaOptions::default()).unwrap();
    // 7 and 5 floats, each block a multiple of 256 bytes; then warm runs.
    let made = fake.log();
    let blocks = ["device 0", "mode 1", "stream 1", "host-alloc 256", "malloc 256", "host-alloc 256", "malloc 256"];
    assert_eq!(made[..7], blocks);
    let run = ["upload 256", "download 256", "synchronize 0"];
    assert_eq!(made[7..9], ["device 0", "mode 1"]);
    assert_eq!(made[9..], run.repeat(WARM_RUNS));
    let mut outputs = [f32::NAN; 5];
    engine.run(&[0.5; 7], &mut outputs).unwrap();
    assert_eq!(fake.log(), run);
    let mut cpu = OrtCpu::cached(runtime, &zoo("gemm"), &Shape::vector("x", 7, "y", 5), None).unwrap();
    let mut wanted = [0.0; 5];
    cpu.run(&[0.5; 7], &mut wanted).unwrap();
    assert_eq!(outputs, wanted, "what came back is what the host reads after the wait");
    drop(engine);
    let freed = ["free 0", "free-host 0", "free 0", "free-host 0", "stream-destroy 0"];
    assert_eq!(fake.log(), freed, "the stream after what runs on it");
    assert_eq!((fake.left(), fake.wrong()), (0, 0));
}

#[test]
fn batches_of_1_64_and_1024_answer_as_the_cpu_does_and_are_freed_once() {
    let Some((runtime, fake)) = both() else { return };
    let mut engine = engine(runtime, &fake, CudaOptions::default()).unwrap();
    let mut cpu = OrtCpu::cached(runtime, &zoo("gemm"), &Shape::vector("x", 7, "y", 5), None).unwrap();
    for seats in [1, 64, 1024, 3] {
        fake.log();
        engine.seat(seats);
        cpu.seat(seats);
        assert_eq!(engine.batch(), seats.next_power_of_two());
        let (sizes, log) = (seats.next_power_of_two().ilog2() as usize, fake.log());
        assert_eq!(log.iter().filter(|call| call.starts_with("malloc")).count(), 2 * sizes);
        if sizes > 0 {
            let bytes = (seats.next_power_of_two() * 7 * 4).next_multiple_of(256);
            assert!(log.contains(&format!("malloc {bytes}")), "{bytes} in {log:?}");
        }
        let everyone: Vec<usize> = (0..seats).collect();
        for &seat in &everyone {
            let row: Vec<f32> = (0..7).map(|i| ((seat * 7 + i) as f32).sin()).collect();
            engine.take(seat, &row).unwrap();
            cpu.take(seat, &row).unwrap();
        }
        let (mut got, mut wanted) = (vec![0.0; 5 * seats], vec![1.0; 5 * seats]);
        fake.log();
        engine.infer(&everyone, &mut got).unwrap();
        cpu.infer(&everyone, &mut wanted).unwrap();
        assert_eq!(fake.log().len(), 3, "one run for all");
        assert_eq!(got, wanted, "{seats}");
    }
    drop(engine);
    assert_eq!((fake.left(), fake.wrong()), (0, 0));
}

#[test]
fn a_new_exchange_never_replays_the_graph_of_one_that_is_gone() {
    let Some((runtime, fake)) = both() else { return };
    let mut engine = engine(runtime, &fake, CudaOptions::default()).unwrap();
    let ids = |engine: &mut OrtCuda| -> Vec<Option<String>> {
        engine.bound.iter_mut().map(|bound| bound.options.get("gpu_graph_id")).collect()
    };
    let some = |ids: &[&str]| ids.iter().map(|id| Some((*id).to_owned())).collect::<Vec<_>>();
    assert_eq!(ids(&mut engine), some(&["1"]));
    engine.seat(4);
    assert_eq!(ids(&mut engine), some(&["1", "2", "3"]));
    engine.seat(2);
    assert_eq!(ids(&mut engine), some(&["1", "4"]));
    assert_eq!(engine.info.runtime.split(", ").skip(1).collect::<Vec<_>>(), ["CUDA graphs", "no TF32"]);
    let without = CudaOptions { graphs: false, ..CudaOptions::default() };
    assert_eq!(ids(&mut self::engine(runtime, &fake, without).unwrap()), [None]);
}

#[test]
fn another_thread_warms_the_engine_once_before_it_is_asked() {
    let Some((runtime, fake)) = both() else { return };
    let mut engine = engine(runtime, &fake, CudaOptions::default()).unwrap();
    engine.seat(2);
    fake.log();
    assert!(!engine.prepare());
    assert!(fake.log().is_empty(), "this thread has warmed it");
    let moved = std::thread::spawn(move || {
        assert!(!engine.prepare() && !engine.prepare());
        engine
    });
    drop(moved.join().unwrap());
    let log = fake.log();
    assert_eq!(log.iter().filter(|call| *call == "synchronize 0").count(), 2 * WARM_RUNS);
    assert_eq!(log.iter().filter(|call| *call == "device 0").count(), 2);
}

#[test]
fn what_fails_is_said_and_nothing_is_left_behind() {
    let Some((runtime, fake)) = both() else { return };
    for (call, after, said) in [
        (c"device", 0, "cudaSetDevice: invalid argument (1)"),
        (c"mode", 0, "cudaThreadExchangeStreamCaptureMode: invalid argument (1)"),
        (c"stream", 0, "cudaStreamCreateWithFlags: out of memory (2)"),
        (c"host-alloc", 0, "cudaHostAlloc: out of memory (2)"),
        (c"malloc", 0, "cudaMalloc: out of memory (2)"),
        (c"host-alloc", 1, "cudaHostAlloc: out of memory (2)"),
        (c"malloc", 1, "cudaMalloc: out of memory (2)"),
        (c"upload", 0, "cudaMemcpyAsync: invalid argument (1)"),
        (c"download", 2, "cudaMemcpyAsync: invalid argument (1)"),
        (c"synchronize", 3, "cudaStreamSynchronize: invalid argument (1)"),
    ] {
        fake.fail(call, after);
        let error = engine(runtime, &fake, CudaOptions::default()).err().expect("a refusal").to_string();
        assert!(error.contains(said), "{call:?}: {error}");
        assert_eq!((fake.left(), fake.wrong()), (0, 0), "{call:?}");
    }
    fake.fail(c"", 0);
    let mut engine = engine(runtime, &fake, CudaOptions::default()).unwrap();
    // A copy that fails is waited for all the same, and the next run is as good as any.
    fake.log();
    fake.fail(c"download", 0);
    assert!(engine.run(&[1.0; 7], &mut [0.0; 5]).unwrap_err().to_string().contains("cudaMemcpyAsync"));
    assert_eq!(fake.log(), ["upload 256", "download 256", "synchronize 0"]);
    fake.fail(c"", 0);
    engine.run(&[1.0; 7], &mut [0.0; 5]).unwrap();
    // A device without memory for larger batches runs small ones.
    fake.fail(c"malloc", 3);
    engine.seat(64);
    assert_eq!(engine.batch(), 2);
    fake.fail(c"", 0);
    let (all, mut outputs) = ((0..64).collect::<Vec<_>>(), vec![0.0; 5 * 64]);
    engine.infer(&all, &mut outputs).unwrap();
    drop(engine);
    assert_eq!((fake.left(), fake.wrong()), (0, 0));
}

#[test]
fn devices_are_counted_and_a_foreign_library_is_none() {
    let Some(fake) = Fake::open() else { return };
    assert_eq!(fake.api.devices(), Ok(2));
    fake.fail(c"devices", 0);
    assert_eq!(fake.api.devices(), Err("cudaGetDeviceCount: invalid argument (1)".into()));
    assert!(fake.api.use_device(2).unwrap_err().contains("cudaSetDevice: invalid argument"));
    let missing = Cudart::open(Path::new("/nowhere/libcudart.so.13")).err().unwrap();
    assert!(missing.contains("/nowhere/libcudart.so.13") && missing.contains("No such file"), "{missing}");
    let foreign = Cudart::open(Path::new("libc.so.6")).err().unwrap();
    assert!(foreign.contains("libc.so.6: it has no cudaGetDeviceCount"), "{foreign}");
    assert!(fake.path.is_file());
}

#[test]
fn words_of_the_runtime_that_come_up_have_a_mend() {
    let said = explained("CUDA execution provider is not enabled in this build. ");
    assert!(said.contains("scripts/fetch-onnxruntime --gpu") && said.contains("on_missing = \"cpu\""), "{said}");
    let said = explained(
        "This session contains graph nodes that are assigned to the default CPU EP, but fallback to CPU EP has been explicitly disabled by the user.",
    );
    assert!(said.contains("graphs = false"), "{said}");
    assert_eq!(explained("anything else"), "anything else");
}

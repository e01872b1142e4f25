use pillion::engine::native::{Native, Options as N};
use pillion::engine::{Engine, OrtCpu, Runtime, RuntimeConfig, Shape};
use std::time::Instant;
fn main() {
    let runtime = Runtime::open(&RuntimeConfig::default()).unwrap();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let files = if args.is_empty() {
        vec!["reg200x31".to_string(), "cls200x31".into(), "reg1000x63".into(), "cls1000x63".into()]
    } else {
        args
    };
    for file in files {
        let (name, features) = file.split_once('@').map_or((file.as_str(), 32), |(n, f)| (n, f.parse().unwrap()));
        let onnx = std::fs::read(format!("/tmp/trees/{name}.onnx")).unwrap();
        let outputs = if name.contains("cls") { 3 } else { 1 };
        let shape = Shape::vector("x", features, "y", outputs);
        let mut ort = OrtCpu::new(runtime, &onnx, &shape).unwrap();
        let mut ours: Vec<(&str, Native)> = ["avx512", "avx2", "portable"]
            .into_iter()
            .filter_map(|isa| {
                Native::with(&onnx, &shape, N { isa: Some(isa), ..N::default() })
                    .map_err(|e| println!("{e}"))
                    .ok()
                    .map(|n| (isa, n))
            })
            .collect();
        let mut state = 12345_u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 40) as f32 / 8388608.0 - 1.0) * 2.5
        };
        let rows: Vec<Vec<f32>> = (0..256).map(|_| (0..features).map(|_| next()).collect()).collect();
        let mut y = vec![0.0; outputs];
        let mut worst = 0.0_f32;
        for row in &rows {
            let mut a = vec![0.0; outputs];
            ort.run(row, &mut a).unwrap();
            for (_, e) in &mut ours {
                e.run(row, &mut y).unwrap();
                for (a, b) in a.iter().zip(&y) {
                    worst = worst.max((a - b).abs());
                }
            }
        }
        let mut p50s = vec![vec![]; ours.len() + 1];
        for _ in 0..12 {
            let mut time = |e: &mut dyn Engine| {
                for row in &rows {
                    e.run(row, &mut y).unwrap();
                }
                let mut t: Vec<u64> = (0..8)
                    .flat_map(|_| rows.iter())
                    .map(|row| {
                        let b = Instant::now();
                        e.run(row, &mut y).unwrap();
                        b.elapsed().as_nanos() as u64
                    })
                    .collect();
                t.sort_unstable();
                t[t.len() / 2]
            };
            p50s[0].push(time(&mut ort));
            for (i, (_, e)) in ours.iter_mut().enumerate() {
                p50s[i + 1].push(time(e));
            }
        }
        let med = |v: &mut Vec<u64>| {
            v.sort_unstable();
            (v[0], v[v.len() / 2])
        };
        let o = med(&mut p50s[0]);
        print!("{name:14} err {worst:.1e} ort {}/{} ns", o.0, o.1);
        for (i, (isa, e)) in ours.iter().enumerate() {
            let m = med(&mut p50s[i + 1]);
            print!(" | {isa} {}/{} ns {:.1}x", m.0, m.1, o.1 as f64 / m.1 as f64);
            if i == 0 {
                print!(" {} KB", e.weight_bytes() / 1024);
            }
        }
        println!();
    }
}

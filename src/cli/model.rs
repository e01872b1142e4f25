//! `pillion model`: what an exported file is, and a model directory around it.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use crate::engine::admission::Tolerance;
use crate::engine::cuda::Device;
use crate::engine::{CudaOptions, Weights};
use crate::error::Result;
use crate::hot::Trigger;
use crate::models::Missing;
use crate::models::check::{self, Request};
use crate::models::guess::Told;
use crate::models::new::{self, Plan};

/// Arguments of `pillion model`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

impl Args {
    /// Whether JSON is asked for.
    pub fn json(&self) -> bool {
        matches!(&self.command, Command::Check(args) if args.json)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what a model is, which engine takes it and why not the others, how near they are and how fast
    Check(CheckArgs),
    /// Make a model directory of an ONNX file and the feature set it was trained on
    New(NewArgs),
}

/// What a graph may not tell of itself.
#[derive(Debug, clap::Args)]
struct Graph {
    /// Rows of the window, where the graph leaves them open
    #[arg(long, value_name = "ROWS")]
    window: Option<usize>,
    /// Which dimension of a window comes first in the graph
    #[arg(long, value_enum, default_value = "rows-first")]
    layout: LayoutArg,
    /// Inputs that carry a state, each with the output that is its next value: h0=hn,c0=cn
    #[arg(long, value_name = "INPUT=OUTPUT", value_delimiter = ',', value_parser = pair)]
    state: Vec<(String, String)>,
    /// Output to publish; every float output that is no state when left out
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    output: Vec<String>,
    /// Whether a value of a row may be missing, as NaN
    #[arg(long, value_enum, default_value = "never")]
    missing: MissingArg,
    /// How the native engine may store weights
    #[arg(long, value_enum, default_value = "f32")]
    weights: WeightsArg,
    /// Let the native engine compute between rows what hangs only on earlier ones
    #[arg(long)]
    precompute: bool,
    /// How near an engine must be to ONNX Runtime: absolute,relative
    #[arg(long, value_name = "ABS,REL", value_parser = tolerance, default_value = "1e-5,1e-4")]
    tolerance: Tolerance,
}

#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// A model directory, or an ONNX file without a manifest
    target: PathBuf,
    /// Values of a row, where the graph leaves them open
    #[arg(long, value_name = "N")]
    features: Option<usize>,
    /// Print everything as one JSON object
    #[arg(long)]
    json: bool,
    /// CPU to time on, none that a live lane spins on; the lowest that this process may use when left out
    #[arg(long, value_name = "N")]
    core: Option<usize>,
    /// Most instruments of one run, as the config key lane.batch
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,
    /// GPU to try beside the CPU, as the config key lane.device
    #[arg(long, default_value = "cuda:0", value_parser = gpu)]
    device: i32,
    #[command(flatten)]
    asked: RowsAsked,
    #[command(flatten)]
    graph: Graph,
}

#[derive(Debug, clap::Args)]
struct NewArgs {
    /// The exported file
    onnx: PathBuf,
    /// Feature set that it was trained on: bundled (book, all) or the path of a TOML file
    #[arg(long, value_name = "SET")]
    features: String,
    /// Folder to make; it must not be there
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Name of the model; the folder's when left out
    #[arg(long)]
    name: Option<String>,
    /// Which training of the same name it is
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    revision: u32,
    /// Names of the values, in order
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    outputs: Vec<String>,
    /// What the values are, in a sentence
    #[arg(long)]
    meaning: Option<String>,
    /// How far ahead it looks, in book events
    #[arg(long, default_value_t = 0, value_name = "EVENTS")]
    horizon: u32,
    #[command(flatten)]
    asked: RowsAsked,
    /// Which events have the rows it was trained on, as a lane's trigger; what the file of rows says when left out
    #[arg(long, value_name = "TRIGGER")]
    trigger: Option<Trigger>,
    #[command(flatten)]
    graph: Graph,
}

/// Rows of the market, and what the estimator says of them.
#[derive(Debug, clap::Args)]
struct RowsAsked {
    /// Ask the model on every row of this file of `pillion features` (.parquet or .csv)
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// Compare with the estimator's own answers to those rows (.parquet, .csv or .npy); refused beyond the tolerance
    #[arg(long, value_name = "FILE", requires = "rows")]
    expect: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MissingArg {
    Never,
    Nan,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum LayoutArg {
    RowsFirst,
    ChannelsFirst,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WeightsArg {
    F32,
    Bf16,
    F16,
    Int8,
}

impl Graph {
    fn told(&self, features: Option<usize>) -> Told {
        let (states, outputs) = (self.state.clone(), self.output.clone());
        let channels_first = self.layout == LayoutArg::ChannelsFirst;
        Told { features, window: self.window, states, outputs, channels_first, by_set: false }
    }

    fn missing(&self) -> Missing {
        match self.missing {
            MissingArg::Never => Missing::Never,
            MissingArg::Nan => Missing::Nan,
        }
    }

    fn weights(&self) -> Weights {
        match self.weights {
            WeightsArg::F32 => Weights::F32,
            WeightsArg::Bf16 => Weights::Bf16,
            WeightsArg::F16 => Weights::F16,
            WeightsArg::Int8 => Weights::Int8,
        }
    }
}

fn pair(text: &str) -> std::result::Result<(String, String), String> {
    let both = text.split_once('=').filter(|(input, output)| !input.is_empty() && !output.is_empty());
    both.map(|(input, output)| (input.into(), output.into())).ok_or_else(|| format!("`{text}` is not INPUT=OUTPUT"))
}

fn tolerance(text: &str) -> std::result::Result<Tolerance, String> {
    let part = |text: &str| text.trim().parse().ok().filter(|x| (0.0..=1.0).contains(x));
    let both = text.split_once(',').and_then(|(absolute, relative)| Some((part(absolute)?, part(relative)?)));
    let (absolute, relative) = both.ok_or_else(|| format!("`{text}` is not two numbers from 0 to 1, as 1e-5,1e-4"))?;
    Ok(Tolerance { absolute, relative })
}

fn gpu(text: &str) -> std::result::Result<i32, String> {
    match Device::try_from(text.to_owned())? {
        Device::Cuda(number) => Ok(number),
        Device::Cpu => Err("the CPU is tried anyway; name a GPU, as cuda:0".into()),
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Check(args) => check::run(&request(args), args.json).map(|text| crate::out!("{text}")),
        Command::New(args) => {
            for (what, how) in new::make(&plan(args))? {
                crate::outln!("{what:<10} {how}");
            }
            Ok(())
        }
    }
}

fn request(args: &CheckArgs) -> Request {
    let graph = &args.graph;
    Request {
        target: args.target.clone(),
        told: graph.told(args.features),
        missing: graph.missing(),
        weights: graph.weights(),
        precompute: graph.precompute,
        tolerance: graph.tolerance,
        core: args.core,
        batch: usize::from(args.batch),
        cuda: CudaOptions { device: args.device, ..CudaOptions::default() },
        rows: args.asked.rows.clone(),
        expect: args.asked.expect.clone(),
    }
}

fn plan(args: &NewArgs) -> Plan {
    let graph = &args.graph;
    Plan {
        onnx: args.onnx.clone(),
        features: args.features.clone(),
        folder: args.out.clone(),
        name: args.name.clone(),
        revision: args.revision,
        names: args.outputs.clone(),
        meaning: args.meaning.clone(),
        horizon: args.horizon,
        told: graph.told(None),
        missing: graph.missing(),
        weights: graph.weights(),
        precompute: graph.precompute,
        tolerance: graph.tolerance,
        rows: args.asked.rows.clone(),
        expect: args.asked.expect.clone(),
        trigger: args.trigger,
    }
}

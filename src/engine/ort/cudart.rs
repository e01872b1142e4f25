//! The CUDA runtime, opened at run time: a stream, pinned and device memory, and runs between two copies.
//!
//! Signatures and numbers are those of `cuda_runtime_api.h`, CUDA 13. The library is the one that ONNX Runtime's provider links, so
//! that a stream made here is a stream there.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use ::ort::ep::CUDA;
use ::ort::memory::MemoryInfo;
use ::ort::session::{IoBinding, NoSelectedOutputs, RunOptions, Session};
use ::ort::value::{Shape, TensorRefMut};
use ::ort::{AsPointer, api};

use super::super::runtime;

/// Floats between the starts of two tensors in a block are a multiple of this: 256 bytes, as CUDA's own allocations.
const ALIGN: usize = 64;

type Stream_ = *mut c_void;

/// Functions of the library, with the library open for good.
pub(super) struct Cudart {
    device_count: unsafe extern "C" fn(*mut c_int) -> c_int,
    set_device: unsafe extern "C" fn(c_int) -> c_int,
    capture_mode: unsafe extern "C" fn(*mut c_int) -> c_int,
    stream_create: unsafe extern "C" fn(*mut Stream_, c_uint) -> c_int,
    stream_destroy: unsafe extern "C" fn(Stream_) -> c_int,
    stream_synchronize: unsafe extern "C" fn(Stream_) -> c_int,
    host_alloc: unsafe extern "C" fn(*mut *mut c_void, usize, c_uint) -> c_int,
    free_host: unsafe extern "C" fn(*mut c_void) -> c_int,
    malloc: unsafe extern "C" fn(*mut *mut c_void, usize) -> c_int,
    free: unsafe extern "C" fn(*mut c_void) -> c_int,
    memcpy_async: unsafe extern "C" fn(*mut c_void, *const c_void, usize, c_int, Stream_) -> c_int,
    error_string: unsafe extern "C" fn(c_int) -> *const c_char,
}

/// Looks a function up in an open library, as the type of the field it goes to.
macro_rules! function {
    ($handle:expr, $name:literal) => {{
        let name = concat!($name, "\0");
        let found = runtime::symbol($handle, CStr::from_bytes_with_nul(name.as_bytes()).expect("it ends in NUL"));
        let found = found.ok_or_else(|| format!("it has no {}", $name))?;
        #[allow(clippy::missing_transmute_annotations, reason = "the field says which type it is")]
        // SAFETY: the CUDA runtime has exported this name with this signature since its version 10.
        let function = unsafe { std::mem::transmute(found) };
        function
    }};
}

impl Cudart {
    /// Opens the library, by path or by name.
    ///
    /// # Errors
    /// It does not load, or is another library.
    pub fn open(path: &Path) -> Result<Arc<Self>, String> {
        let open = || -> Result<Self, String> {
            let at = runtime::load(path)?;
            Ok(Self {
                device_count: function!(at, "cudaGetDeviceCount"),
                set_device: function!(at, "cudaSetDevice"),
                capture_mode: function!(at, "cudaThreadExchangeStreamCaptureMode"),
                stream_create: function!(at, "cudaStreamCreateWithFlags"),
                stream_destroy: function!(at, "cudaStreamDestroy"),
                stream_synchronize: function!(at, "cudaStreamSynchronize"),
                host_alloc: function!(at, "cudaHostAlloc"),
                free_host: function!(at, "cudaFreeHost"),
                malloc: function!(at, "cudaMalloc"),
                free: function!(at, "cudaFree"),
                memcpy_async: function!(at, "cudaMemcpyAsync"),
                error_string: function!(at, "cudaGetErrorString"),
            })
        };
        open().map(Arc::new).map_err(|reason| format!("the CUDA runtime {}: {reason}", path.display()))
    }

    /// How many devices there are.
    pub fn devices(&self) -> Result<c_int, String> {
        let mut count = 0;
        // SAFETY: writes one int to where it is told.
        self.done("cudaGetDeviceCount", unsafe { (self.device_count)(&raw mut count) })?;
        Ok(count)
    }

    /// Makes the device the calling thread's, and what this thread does legal while another one captures a graph.
    pub fn use_device(&self, device: c_int) -> Result<(), String> {
        // SAFETY: takes a number, which it checks.
        self.done("cudaSetDevice", unsafe { (self.set_device)(device) })?;
        // cudaStreamCaptureModeThreadLocal
        let mut mode = 1;
        // SAFETY: reads and writes the one int.
        self.done("cudaThreadExchangeStreamCaptureMode", unsafe { (self.capture_mode)(&raw mut mode) })
    }

    #[inline]
    fn done(&self, call: &str, code: c_int) -> Result<(), String> {
        if code == 0 { Ok(()) } else { Err(self.failed(call, code)) }
    }

    #[cold]
    fn failed(&self, call: &str, code: c_int) -> String {
        // SAFETY: takes any number.
        let text = unsafe { (self.error_string)(code) };
        if text.is_null() {
            return format!("{call} failed with {code}");
        }
        // SAFETY: not null, so it is a static string that ends in NUL.
        format!("{call}: {} ({code})", unsafe { CStr::from_ptr(text) }.to_string_lossy())
    }
}

/// A stream of its own, which does not wait for the default one.
pub(super) struct Stream {
    api: Arc<Cudart>,
    raw: Stream_,
}

// SAFETY: a stream is a handle that any thread may use.
unsafe impl Send for Stream {}
// SAFETY: the runtime's calls on a stream are thread-safe; nothing here changes the handle.
unsafe impl Sync for Stream {}

impl Stream {
    pub fn new(api: &Arc<Cudart>) -> Result<Arc<Self>, String> {
        let mut raw = ptr::null_mut();
        // SAFETY: writes the handle to where it is told. 1 is cudaStreamNonBlocking.
        api.done("cudaStreamCreateWithFlags", unsafe { (api.stream_create)(&raw mut raw, 1) })?;
        Ok(Arc::new(Self { api: Arc::clone(api), raw }))
    }

    /// The provider, set to run on this stream. Whoever makes a session of it keeps the stream for longer.
    pub fn serve(&self, provider: CUDA) -> CUDA {
        // SAFETY: `OrtCuda`, the one caller, drops its session and all that holds it before its stream.
        unsafe { provider.with_compute_stream(self.raw.cast()) }
    }

    fn synchronize(&self) -> Result<(), String> {
        // SAFETY: the stream is alive.
        self.api.done("cudaStreamSynchronize", unsafe { (self.api.stream_synchronize)(self.raw) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: made by this library, destroyed once. A failure means that the context is gone, and the stream with it.
        unsafe { (self.api.stream_destroy)(self.raw) };
    }
}

/// So many floats on the host, pinned, and as many on the device.
struct Block {
    api: Arc<Cudart>,
    host: *mut f32,
    device: *mut f32,
    len: usize,
}

// SAFETY: the block owns both allocations, and any thread may use and free them.
unsafe impl Send for Block {}

impl Block {
    fn new(api: &Arc<Cudart>, len: usize) -> Result<Self, String> {
        let bytes = len.checked_mul(size_of::<f32>()).ok_or("a block of more bytes than there are")?;
        let mut block = Self { api: Arc::clone(api), host: ptr::null_mut(), device: ptr::null_mut(), len: 0 };
        let mut at = ptr::null_mut();
        // SAFETY: writes the address to where it is told. 0 is cudaHostAllocDefault.
        api.done("cudaHostAlloc", unsafe { (api.host_alloc)(&raw mut at, bytes, 0) })?;
        block.host = at.cast();
        // SAFETY: the allocation has this many bytes; zeros are floats.
        unsafe { block.host.write_bytes(0, len) };
        // SAFETY: as above.
        api.done("cudaMalloc", unsafe { (api.malloc)(&raw mut at, bytes) })?;
        block.device = at.cast();
        block.len = len;
        Ok(block)
    }

    fn host(&self) -> &[f32] {
        // SAFETY: `len` floats, zeroed when made; no copy is under way between runs, see `Exchange::run`.
        unsafe { std::slice::from_raw_parts(self.host, self.len) }
    }

    fn host_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.host, self.len) }
    }

    /// Enqueues a copy: 1 is cudaMemcpyHostToDevice, 2 cudaMemcpyDeviceToHost.
    #[inline]
    fn copy(&mut self, kind: c_int, stream: &Stream) -> Result<(), String> {
        let (host, device) = (self.host.cast::<c_void>(), self.device.cast::<c_void>());
        let (to, from) = if kind == 1 { (device, host) } else { (host, device) };
        let bytes = self.len * size_of::<f32>();
        // SAFETY: both sides have this many bytes, and stay until the stream is done: `Exchange::run` waits for it.
        let code = unsafe { (self.api.memcpy_async)(to, from, bytes, kind, stream.raw) };
        self.api.done("cudaMemcpyAsync", code)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: each was made by this library and is freed once, where it was made. A failure means that the context is gone.
        unsafe {
            if !self.device.is_null() {
                (self.api.free)(self.device.cast());
            }
            if !self.host.is_null() {
                (self.api.free_host)(self.host.cast());
            }
        }
    }
}

/// Name and dimensions of a tensor.
pub(super) type Named = (String, Vec<i64>);

/// Inputs and outputs of one size, at addresses that stay, bound to a session: what a captured graph asks for.
pub(super) struct Exchange {
    /// Before the blocks that it points into.
    binding: IoBinding,
    input: Block,
    output: Block,
    /// Where each tensor starts in its block, and its length.
    parts: [Vec<(usize, usize)>; 2],
    stream: Arc<Stream>,
}

impl Exchange {
    /// Allocates, and binds the device's side. `memory`: what device memory is for the session.
    pub fn new(
        session: &Session,
        stream: &Arc<Stream>,
        memory: &MemoryInfo<'_>,
        inputs: &[Named],
        outputs: &[Named],
    ) -> Result<Self, String> {
        let (input, input_parts) = block(&stream.api, inputs)?;
        let (output, output_parts) = block(&stream.api, outputs)?;
        let binding = session.create_binding().map_err(|error| error.to_string())?;
        let parts = [input_parts, output_parts];
        let mut exchange = Self { binding, input, output, parts, stream: Arc::clone(stream) };
        for (i, (name, dims)) in inputs.iter().enumerate() {
            exchange.bind(0, i, name, dims, memory).map_err(|error| error.to_string())?;
        }
        for (i, (name, dims)) in outputs.iter().enumerate() {
            exchange.bind(1, i, name, dims, memory).map_err(|error| error.to_string())?;
        }
        Ok(exchange)
    }

    fn bind(&mut self, side: usize, i: usize, name: &str, dims: &[i64], memory: &MemoryInfo<'_>) -> ::ort::Result<()> {
        let (at, block) = (self.parts[side][i].0, [&self.input, &self.output][side]);
        let name = std::ffi::CString::new(name).map_err(|error| ::ort::Error::new(error.to_string()))?;
        // SAFETY: the part lies in the block: `block` laid it out for these dimensions.
        let device = unsafe { block.device.add(at) };
        // SAFETY: the memory is what `memory` says, long enough, and outlives the tensor and the binding: fields drop in order.
        let tensor = unsafe {
            TensorRefMut::<f32>::from_raw(memory.to_owned(), device.cast(), Shape::new(dims.iter().copied()))?
        };
        let bind = if side == 0 { api().BindInput } else { api().BindOutput };
        // `IoBinding::bind_input` would bind a copy of a tensor that does not own its memory.
        // SAFETY: the binding and the tensor are alive, the name ends in NUL; ONNX Runtime keeps a reference of its own.
        let status = unsafe { bind(self.binding.ptr().cast_mut(), name.as_ptr(), tensor.ptr()) };
        // SAFETY: the status comes from the call just made and is freed here only.
        unsafe { ::ort::Error::result_from_status(status) }
    }

    /// The host's side of input `i`.
    #[inline]
    pub fn input_mut(&mut self, i: usize) -> &mut [f32] {
        let (at, len) = self.parts[0][i];
        &mut self.input.host_mut()[at..][..len]
    }

    /// The host's side of output `i`, as the last run left it.
    #[inline]
    pub fn output(&self, i: usize) -> &[f32] {
        let (at, len) = self.parts[1][i];
        &self.output.host()[at..][..len]
    }

    /// Inputs to the device, the run, outputs back, all on the stream, and waits for it: also where one of them fails, so that
    /// nobody reads or writes what is still being copied.
    pub fn run(&mut self, session: &mut Session, options: &RunOptions<NoSelectedOutputs>) -> Result<(), String> {
        let (binding, stream) = (&self.binding, &self.stream);
        let launched = self
            .input
            .copy(1, stream)
            .and_then(|()| runtime::run_bound(session, options, binding).map_err(|error| error.to_string()))
            .and_then(|()| self.output.copy(2, stream));
        let waited = stream.synchronize();
        launched.and(waited)
    }
}

/// One block for all of these, and where each of them lies.
fn block(api: &Arc<Cudart>, tensors: &[Named]) -> Result<(Block, Vec<(usize, usize)>), String> {
    let (mut parts, mut len) = (Vec::new(), 0_usize);
    for (name, dims) in tensors {
        let product = dims.iter().try_fold(1_usize, |all, &dim| all.checked_mul(usize::try_from(dim).ok()?));
        let next = product.and_then(|n| len.checked_add(n)?.checked_next_multiple_of(ALIGN));
        let (Some(n), Some(next)) = (product, next) else {
            return Err(format!("`{name}` {dims:?} has more values than there are"));
        };
        parts.push((len, n));
        len = next;
    }
    Ok((Block::new(api, len)?, parts))
}

#[cfg(test)]
pub(super) use self::fake::Fake;

#[cfg(test)]
mod fake {
    use super::*;

    /// `tests/model_fixtures/cudart.c`, opened; with its own memory of what was called.
    pub struct Fake {
        pub api: Arc<Cudart>,
        pub path: std::path::PathBuf,
        fail: unsafe extern "C" fn(*const c_char, c_int),
        log: unsafe extern "C" fn() -> *const c_char,
        left: unsafe extern "C" fn() -> c_int,
        wrong: unsafe extern "C" fn() -> c_int,
        _folder: tempfile::TempDir,
    }

    impl Fake {
        /// None, plainly said, without a C compiler.
        pub fn open() -> Option<Self> {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("libcudart.so.13");
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/model_fixtures/cudart.c");
            let cc = std::process::Command::new("cc")
                .args(["-shared", "-fPIC", "-O1", "-o"])
                .arg(&path)
                .arg(source)
                .status();
            let Ok(status) = cc else {
                eprintln!("skipped: no C compiler");
                return None;
            };
            assert!(status.success());
            let api = Cudart::open(&path).unwrap();
            let at = runtime::load(&path).unwrap();
            let open = || -> Result<Self, String> {
                let (fail, log) = (function!(at, "fake_fail"), function!(at, "fake_log"));
                let (left, wrong) = (function!(at, "fake_left"), function!(at, "fake_wrong"));
                Ok(Self { api, path, fail, log, left, wrong, _folder: folder })
            };
            Some(open().unwrap())
        }

        /// From now on this call fails, after so many that do not.
        pub fn fail(&self, call: &CStr, after: c_int) {
            // SAFETY: copies the string.
            unsafe { (self.fail)(call.as_ptr(), after) }
        }

        /// The calls since the last time.
        pub fn log(&self) -> Vec<String> {
            // SAFETY: gives a string that stands until the next call.
            let text = unsafe { CStr::from_ptr((self.log)()) };
            text.to_str().unwrap().lines().map(str::to_owned).collect()
        }

        /// Blocks and streams that are not given back.
        pub fn left(&self) -> c_int {
            // SAFETY: counts.
            unsafe { (self.left)() }
        }

        /// Calls that no correct program makes.
        pub fn wrong(&self) -> c_int {
            // SAFETY: reads a number.
            unsafe { (self.wrong)() }
        }
    }
}

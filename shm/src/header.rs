//! The header of a region as numbers, and the checks before anybody trusts it.

use crate::error::{Error, Maker, Result};
use crate::layout::{
    BODY_ALIGN, HEADER_BYTES, Kind, LAYOUT_VERSION, MAGIC, MOST_TABLE_BYTES, V1_HASH, header as at, layout_hash,
};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The fields that never change once a region has its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub version: u32,
    pub kind: u32,
    pub layout_hash: u64,
    pub region_bytes: u64,
    pub generation: u64,
    pub clock_id: u64,
    pub stride: u64,
    pub capacity: u64,
    pub table_offset: u64,
    pub table_bytes: u64,
    pub body_offset: u64,
    pub created_ns: u64,
    pub owner_pid: u32,
    pub models: u32,
    pub owner_start: u64,
    pub boot_id: [u8; 16],
}

impl Header {
    /// Its bytes, magic and table offset included.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(at::MAGIC, &MAGIC.to_ne_bytes());
        put(at::VERSION, &self.version.to_ne_bytes());
        put(at::KIND, &self.kind.to_ne_bytes());
        put(at::LAYOUT_HASH, &self.layout_hash.to_ne_bytes());
        put(at::REGION_BYTES, &self.region_bytes.to_ne_bytes());
        put(at::GENERATION, &self.generation.to_ne_bytes());
        put(at::CLOCK_ID, &self.clock_id.to_ne_bytes());
        put(at::STRIDE, &self.stride.to_ne_bytes());
        put(at::CAPACITY, &self.capacity.to_ne_bytes());
        put(at::TABLE_OFFSET, &self.table_offset.to_ne_bytes());
        put(at::TABLE_BYTES, &self.table_bytes.to_ne_bytes());
        put(at::BODY_OFFSET, &self.body_offset.to_ne_bytes());
        put(at::CREATED_NS, &self.created_ns.to_ne_bytes());
        put(at::OWNER_PID, &self.owner_pid.to_ne_bytes());
        put(at::MODELS, &self.models.to_ne_bytes());
        put(at::OWNER_START, &self.owner_start.to_ne_bytes());
        put(at::BOOT_ID, &self.boot_id);
        bytes
    }

    /// Reads the header of `file`; refuses what is no region at all.
    pub fn read(file: &File, path: &Path) -> Result<Self> {
        let mut bytes = [0; HEADER_BYTES];
        let length = file.metadata().map_err(|source| Error::Io { action: "stat", path: path.to_owned(), source })?;
        let foreign = |found: String| {
            let found = format!("{found}; it belongs to uid {}", length.uid());
            Error::NotARegion { path: path.to_owned(), found }
        };
        if !length.is_file() {
            return Err(foreign("not a regular file".to_owned()));
        }
        if file.read_exact_at(&mut bytes, 0).is_err() {
            return Err(foreign(format!("{} bytes, a header has {HEADER_BYTES}", length.len())));
        }
        let word = |at: usize| u64::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
        let half = |at: usize| u32::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
        if word(at::MAGIC) != MAGIC {
            return Err(foreign(format!("it starts with {:#018x}, a region with {MAGIC:#018x}", word(at::MAGIC))));
        }
        Ok(Self {
            version: half(at::VERSION),
            kind: half(at::KIND),
            layout_hash: word(at::LAYOUT_HASH),
            region_bytes: word(at::REGION_BYTES),
            generation: word(at::GENERATION),
            clock_id: word(at::CLOCK_ID),
            stride: word(at::STRIDE),
            capacity: word(at::CAPACITY),
            table_offset: word(at::TABLE_OFFSET),
            table_bytes: word(at::TABLE_BYTES),
            body_offset: word(at::BODY_OFFSET),
            created_ns: word(at::CREATED_NS),
            owner_pid: half(at::OWNER_PID),
            models: half(at::MODELS),
            owner_start: word(at::OWNER_START),
            boot_id: std::array::from_fn(|i| bytes[at::BOOT_ID + i]),
        })
    }

    /// Whether this build knows the layout of `kind`: its own, or the one before. Names both versions and hashes when not.
    pub fn check_layout(&self, path: &Path, kind: Kind) -> Result<()> {
        let known = [(LAYOUT_VERSION, layout_hash(kind)), (1, V1_HASH)];
        if known.contains(&(self.version, self.layout_hash)) {
            return Ok(());
        }
        let named = |version: u32, hash: u64| format!("version {version}, hash {hash:#018x}");
        let (found, wanted) = (named(self.version, self.layout_hash), named(known[0].0, known[0].1));
        let mend = "use the same Pillion version on both sides, or remove the file once no Pillion process uses it";
        Err(self.mismatch(path, "layout", found, wanted, mend))
    }

    /// Who made the region, for messages.
    pub fn maker(&self) -> Maker {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = now.saturating_sub(Duration::from_nanos(self.created_ns));
        Maker { pid: self.owner_pid, age_s: age.as_secs() }
    }

    /// A refusal for what the region and this process do not agree on.
    pub fn mismatch(
        &self,
        path: &Path,
        what: &'static str,
        found: String,
        wanted: String,
        mend: &'static str,
    ) -> Error {
        Error::Mismatch { path: path.to_owned(), what, found, wanted, maker: self.maker(), mend }
    }

    /// Everything an attach relies on: layout, kind, clock and sizes.
    pub fn check(&self, path: &Path, file_bytes: u64, kind: Kind, clock_id: Option<u64>) -> Result<()> {
        if self.kind != kind as u32 {
            return Err(self.mismatch(
                path,
                "kind",
                Kind::describe(self.kind),
                kind.name().to_owned(),
                "attach to the right file",
            ));
        }
        self.check_layout(path, kind)?;
        if let Some(wanted) = clock_id.filter(|id| *id != self.clock_id) {
            let (found, wanted) = (format!("{:#018x}", self.clock_id), format!("{wanted:#018x}"));
            let mend = "run both sides with the same pillion.clock; restart whoever started before it was replaced";
            return Err(self.mismatch(path, "clock id", found, wanted, mend));
        }
        if file_bytes != self.region_bytes {
            let (path, expected) = (path.to_owned(), self.region_bytes);
            return Err(Error::Size { path, expected, found: file_bytes, maker: self.maker() });
        }
        self.check_sizes(path)
    }

    /// A refusal of a region of this header for what was `found` in it.
    pub fn unsound(&self, path: &Path, found: &str) -> Error {
        Error::NotARegion { path: path.to_owned(), found: format!("{found} (made by {})", self.maker()) }
    }

    fn check_sizes(&self, path: &Path) -> Result<()> {
        let table_end = (HEADER_BYTES as u64).checked_add(self.table_bytes);
        let body = self.stride.checked_mul(self.capacity);
        let end = body.and_then(|body| body.checked_add(self.body_offset));
        let sound = self.body_offset.is_multiple_of(BODY_ALIGN as u64)
            && self.table_offset == HEADER_BYTES as u64
            && self.table_bytes <= MOST_TABLE_BYTES
            && table_end.is_some_and(|end| end <= self.body_offset)
            && self.body_offset <= self.region_bytes
            && end.is_some_and(|end| end <= self.region_bytes)
            && self.region_bytes.is_multiple_of(8);
        if sound {
            return Ok(());
        }
        Err(self.unsound(path, &format!("its header contradicts itself: {self:?}")))
    }
}

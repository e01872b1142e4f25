//! NumPy's own file of one array, as `np.save` writes it: one value or one row of values for each row.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::Head;

/// Longest head that is read: NumPy's has a few hundred bytes.
const LONGEST_HEAD: usize = 1 << 16;

pub(super) struct Npy {
    file: BufReader<File>,
    /// Where the values begin.
    start: u64,
    kind: Kind,
    big_endian: bool,
    /// Columns stand one behind the other.
    by_column: bool,
    rows: u64,
    width: usize,
    row: u64,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Kind {
    Float(usize),
    Signed(usize),
    Unsigned(usize),
}

impl Kind {
    fn of(descr: &str) -> Option<Self> {
        Some(match descr {
            "f4" => Self::Float(4),
            "f8" => Self::Float(8),
            "i1" => Self::Signed(1),
            "i2" => Self::Signed(2),
            "i4" => Self::Signed(4),
            "i8" => Self::Signed(8),
            "b1" | "u1" => Self::Unsigned(1),
            "u2" => Self::Unsigned(2),
            "u4" => Self::Unsigned(4),
            "u8" => Self::Unsigned(8),
            _ => return None,
        })
    }

    fn size(self) -> usize {
        match self {
            Self::Float(size) | Self::Signed(size) | Self::Unsigned(size) => size,
        }
    }

    /// The value of these bytes, the least first.
    fn value(self, bytes: &[u8]) -> f64 {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        let bits = u64::from_le_bytes(whole);
        match self {
            Self::Float(4) => f64::from(f32::from_bits(bits as u32)),
            Self::Float(_) => f64::from_bits(bits),
            Self::Signed(size) => {
                let unused = 64 - 8 * size as u32;
                ((bits << unused) as i64 >> unused) as f64
            }
            Self::Unsigned(_) => bits as f64,
        }
    }
}

impl Npy {
    /// `length`: bytes of the file.
    pub(super) fn open(path: &Path, length: u64) -> Result<(Self, Head), String> {
        let failed = |error: std::io::Error| format!("cannot be read: {error}");
        let mut file = BufReader::new(File::open(path).map_err(failed)?);
        let (head, start) = head(&mut file).map_err(|error| format!("is cut or no array: {error}"))?;
        let descr = text_of(&head, "descr").ok_or("is an array of records or objects, where numbers are taken")?;
        let (order, name) = descr.split_at_checked(1).ok_or("says no type")?;
        let kind = Kind::of(name)
            .ok_or_else(|| format!("is an array of `{descr}`; float32, float64 and integers are taken"))?;
        let (rows, width) = shape_of(&head).ok_or("says no shape")?;
        let (rows, width) = match (rows, &width[..]) {
            (Some(rows), []) => (rows, 1),
            (Some(rows), &[width]) => (rows, width),
            _ => {
                return Err(format!(
                    "has {} dimensions; one or two are taken",
                    usize::from(rows.is_some()) + width.len()
                ));
            }
        };
        let needed =
            rows.checked_mul(width).and_then(|n| n.checked_mul(kind.size() as u64)).and_then(|n| n.checked_add(start));
        if width == 0 || needed.is_none_or(|needed| needed > length) {
            return Err(format!("says {rows} rows of {width} values and has {length} bytes: it is cut"));
        }
        let by_column = head.contains("'fortran_order': True");
        let (width, bytes) = (width as usize, Vec::new());
        let npy = Self { file, start, kind, big_endian: order == ">", by_column, rows, width, row: 0, bytes };
        Ok((npy, Head { width, rows: Some(rows), ..Head::default() }))
    }

    pub(super) fn piece(&mut self, columns: &[usize], most: usize, into: &mut Vec<f64>) -> Result<(), String> {
        let rows = (self.rows - self.row).min(most as u64) as usize;
        into.resize(rows * columns.len(), 0.0);
        let width = columns.len();
        if self.by_column {
            for (place, &column) in columns.iter().enumerate() {
                self.read(column as u64 * self.rows + self.row, rows)?;
                (0..rows).for_each(|row| into[row * width + place] = self.value(row));
            }
        } else {
            self.read(self.row * self.width as u64, rows * self.width)?;
            for row in 0..rows {
                for (place, &column) in columns.iter().enumerate() {
                    into[row * width + place] = self.value(row * self.width + column);
                }
            }
        }
        self.row += rows as u64;
        Ok(())
    }

    /// `count` values from number `first` on, into the buffer.
    fn read(&mut self, first: u64, count: usize) -> Result<(), String> {
        let size = self.kind.size();
        self.bytes.resize(count * size, 0);
        let from = SeekFrom::Start(self.start + first * size as u64);
        let read = self.file.seek(from).and_then(|_| self.file.read_exact(&mut self.bytes));
        read.map_err(|error| format!("cannot be read on: {error}"))?;
        if self.big_endian {
            self.bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        Ok(())
    }

    fn value(&self, at: usize) -> f64 {
        let size = self.kind.size();
        self.kind.value(&self.bytes[at * size..(at + 1) * size])
    }
}

/// The head's text, and where the values begin.
fn head(file: &mut impl Read) -> std::io::Result<(String, u64)> {
    let mut first = [0; 8];
    file.read_exact(&mut first)?;
    let (length, before) = if first[6] == 1 {
        let mut length = [0; 2];
        file.read_exact(&mut length)?;
        (usize::from(u16::from_le_bytes(length)), 10)
    } else {
        let mut length = [0; 4];
        file.read_exact(&mut length)?;
        (u32::from_le_bytes(length) as usize, 12)
    };
    if length > LONGEST_HEAD {
        return Err(std::io::Error::other(format!("its head has {length} bytes")));
    }
    let mut text = vec![0; length];
    file.read_exact(&mut text)?;
    Ok((String::from_utf8_lossy(&text).into_owned(), before + length as u64))
}

/// The text that belongs to a key.
fn text_of(head: &str, key: &str) -> Option<String> {
    let rest = head.split_once(&format!("'{key}':"))?.1.trim_start();
    rest.strip_prefix('\'')?.split_once('\'').map(|(text, _)| text.to_owned())
}

/// The first dimension, if there is one, and the others.
fn shape_of(head: &str) -> Option<(Option<u64>, Vec<u64>)> {
    let inner = head.split_once("'shape':")?.1.trim_start().strip_prefix('(')?.split_once(')')?.0;
    let dims = inner.split(',').map(str::trim).filter(|dim| !dim.is_empty()).map(|dim| dim.parse().ok());
    let mut dims = dims.collect::<Option<Vec<u64>>>()?.into_iter();
    Some((dims.next(), dims.collect()))
}

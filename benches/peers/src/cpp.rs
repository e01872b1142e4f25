//! Safe handles of the C++ peer (`cpp/peer.cpp`): the public header's code, called per record or per batch.
//!
//! A call costs the C++ side one or two ns that a C++ program would not pay; the figures are that much too harsh on it.

use std::ffi::{CString, c_char};
use std::path::Path;

/// What a batch found.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// Whole records, or values.
    pub records: u64,
    /// Records overwritten before they were read.
    pub lost: u64,
    /// Sum of their first words.
    pub sum: u64,
}

enum RawWriter {}
enum RawReader {}
enum RawBoard {}

// SAFETY: the signatures are those of cpp/peer.cpp; the functions keep no pointer to what they are passed.
unsafe extern "C" {
    fn pillion_writer(dir: *const c_char, lane: *const c_char, capacity: u64, bytes: u64) -> *mut RawWriter;
    fn pillion_writer_free(writer: *mut RawWriter);
    fn pillion_publish_8(writer: *mut RawWriter, words: *const u64);
    fn pillion_publish_46(writer: *mut RawWriter, words: *const u64);
    fn pillion_publish_stamped_8(writer: *mut RawWriter, words: *const u64);
    fn pillion_reader(dir: *const c_char, lane: *const c_char) -> *mut RawReader;
    fn pillion_reader_free(reader: *mut RawReader);
    fn pillion_poll_8(reader: *mut RawReader, words: *mut u64) -> bool;
    fn pillion_poll_46(reader: *mut RawReader, words: *mut u64) -> bool;
    fn pillion_batch(reader: *mut RawReader) -> Taken;
    fn pillion_board(dir: *const c_char, lane: *const c_char) -> *mut RawBoard;
    fn pillion_board_free(board: *mut RawBoard);
    fn pillion_board_reads(board: *const RawBoard, times: u64) -> Taken;
}

/// The C++ `TickWriter`; its name goes with it.
pub struct Writer(*mut RawWriter);
/// The C++ `TickReader`, from the next record on.
pub struct Reader(*mut RawReader);
/// The C++ `SignalBoard`.
pub struct Board(*mut RawBoard);

// SAFETY: the C++ handles belong to one thread at a time and to no thread in particular.
unsafe impl Send for Writer {}
// SAFETY: as above.
unsafe impl Send for Reader {}
// SAFETY: as above.
unsafe impl Send for Board {}

fn c(text: &str) -> CString {
    CString::new(text).expect("a text without a 0")
}

fn dir(path: &Path) -> CString {
    c(&path.to_string_lossy())
}

impl Writer {
    /// Makes the tick ring of `lane`.
    pub fn create(place: &Path, lane: &str, capacity: u64, record_words: usize) -> Self {
        // SAFETY: both texts live during the call.
        Self(unsafe { pillion_writer(dir(place).as_ptr(), c(lane).as_ptr(), capacity, record_words as u64 * 8) })
    }

    /// `publish_at` with the first word as the stamp.
    #[inline]
    pub fn publish<const N: usize>(&mut self, words: &[u64; N]) {
        const { assert!(N == 8 || N == 46) };
        // SAFETY: the pointer is the constructor's, and the function reads N words.
        unsafe {
            if N == 8 { pillion_publish_8(self.0, words.as_ptr()) } else { pillion_publish_46(self.0, words.as_ptr()) }
        }
    }

    /// `publish`: stamped with now.
    #[inline]
    pub fn publish_stamped(&mut self, words: &[u64; 8]) {
        // SAFETY: the pointer is the constructor's, and the function reads 8 words.
        unsafe { pillion_publish_stamped_8(self.0, words.as_ptr()) }
    }
}

impl Reader {
    /// Attaches to the tick ring of `lane` at the next record.
    pub fn attach(place: &Path, lane: &str) -> Self {
        // SAFETY: both texts live during the call.
        Self(unsafe { pillion_reader(dir(place).as_ptr(), c(lane).as_ptr()) })
    }

    /// `poll_as`; whether a record came.
    #[inline]
    pub fn poll<const N: usize>(&mut self, words: &mut [u64; N]) -> bool {
        const { assert!(N == 8 || N == 46) };
        // SAFETY: the pointer is the constructor's, and the function writes N words.
        unsafe {
            if N == 8 {
                pillion_poll_8(self.0, words.as_mut_ptr())
            } else {
                pillion_poll_46(self.0, words.as_mut_ptr())
            }
        }
    }

    /// `poll_batch` of up to 64 ticks.
    #[inline]
    pub fn batch(&mut self) -> Taken {
        // SAFETY: the pointer is the constructor's.
        unsafe { pillion_batch(self.0) }
    }
}

impl Board {
    /// Attaches to the board of `lane`.
    pub fn attach(place: &Path, lane: &str) -> Self {
        // SAFETY: both texts live during the call.
        Self(unsafe { pillion_board(dir(place).as_ptr(), c(lane).as_ptr()) })
    }

    /// Reads the first cell so many times; says how often it was whole.
    pub fn reads(&self, times: u64) -> Taken {
        // SAFETY: the pointer is the constructor's.
        unsafe { pillion_board_reads(self.0, times) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // SAFETY: the constructor's pointer, once.
        unsafe { pillion_writer_free(self.0) }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: the constructor's pointer, once.
        unsafe { pillion_reader_free(self.0) }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: the constructor's pointer, once.
        unsafe { pillion_board_free(self.0) }
    }
}

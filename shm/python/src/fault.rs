//! The library's refusals as Python exceptions, with their messages whole.

use pillion_shm::Error;
use pillion_shm::text::printable_lines;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A result whose error becomes an exception.
pub type Result<T> = std::result::Result<T, Fault>;

/// What went wrong.
pub enum Fault {
    /// The library refused.
    Library(Error),
    /// The handle was closed before.
    Closed(&'static str),
    /// Python itself refused.
    Python(PyErr),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Library(error)
    }
}

impl From<PyErr> for Fault {
    fn from(error: PyErr) -> Self {
        Fault::Python(error)
    }
}

impl From<Fault> for PyErr {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Library(error) => {
                Python::attach(|py| raise(py, class_of(&error), &printable_lines(&error.to_string())))
            }
            Fault::Closed(what) => {
                Python::attach(|py| raise(py, "Error", &format!("this {what} was closed before; mend: make a new one")))
            }
            Fault::Python(error) => error,
        }
    }
}

/// Name of the exception in `pillion_shm._errors` that stands for `error`.
fn class_of(error: &Error) -> &'static str {
    match error {
        Error::Absent { .. } => "AbsentError",
        Error::Held { .. } | Error::Contended { .. } => "HeldError",
        Error::NotARegion { .. } | Error::Size { .. } | Error::Mismatch { .. } => "MismatchError",
        Error::Denied { .. } => "DeniedError",
        Error::Untrusted(_) => "UntrustedError",
        Error::NoOwner { .. } => "NoOwnerError",
        Error::NoAnswer { .. } | Error::AnswerLost { .. } => "NoAnswerError",
        Error::Name { .. } | Error::Spec { .. } | Error::Table { .. } => "ArgumentError",
        _ => "Error",
    }
}

fn raise(py: Python<'_>, class: &str, message: &str) -> PyErr {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let class = MODULE
        .get_or_try_init(py, || py.import("pillion_shm._errors").map(Bound::unbind))
        .and_then(|module| Ok(module.bind(py).getattr(class)?.cast_into::<PyType>()?));
    match class {
        Ok(class) => PyErr::from_type(class, (message.to_owned(),)),
        Err(_) => PyRuntimeError::new_err(message.to_owned()),
    }
}

/// The handle inside `mutex`, whatever became of a thread that held it before: every call leaves it whole.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `call` on a handle that may have been closed.
pub fn open<T, R>(mutex: &Mutex<Option<T>>, what: &'static str, call: impl FnOnce(&mut T) -> R) -> Result<R> {
    lock(mutex).as_mut().map(call).ok_or(Fault::Closed(what))
}

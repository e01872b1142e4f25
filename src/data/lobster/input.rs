//! Finding and opening the two CSV files of a LOBSTER day, in a zip or as they are.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::super::calendar::Date;
use super::csv::Lines;
use crate::{Error, Result};

/// What LOBSTER's file names say: `GOOG_2012-06-21_34200000_57600000_message_10.csv`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// The ticker.
    pub symbol: Option<String>,
    /// The day.
    pub date: Option<Date>,
}

impl Names {
    fn of(file: &str) -> Names {
        let name = Path::new(file).file_name().and_then(|n| n.to_str()).unwrap_or("");
        let mut parts = name.split('_');
        let (symbol, date) = (parts.next(), parts.next().and_then(|d| d.parse().ok()));
        Names { symbol: symbol.filter(|s| date.is_some() && !s.is_empty()).map(str::to_owned), date }
    }
}

/// A zip, or a message and an orderbook file.
pub struct Inputs {
    /// What the names of the files inside say.
    pub names: Names,
    messages: Part,
    books: Part,
}

enum Part {
    Plain(PathBuf),
    Zipped(PathBuf, usize, String),
}

/// Finds the two files in `paths`: one zip that holds them, or both in the order message, orderbook.
pub fn open(paths: &[PathBuf]) -> Result<Inputs> {
    let (messages, books) = match paths {
        [zip] => (zipped(zip, "_message_")?, zipped(zip, "_orderbook_")?),
        [messages, books] => (Part::Plain(messages.clone()), Part::Plain(books.clone())),
        _ => {
            let problem = format!("{} files given", paths.len());
            return Err(Error::input("LOBSTER input", problem, "give one zip, or message.csv and orderbook.csv"));
        }
    };
    Ok(Inputs { names: Names::of(messages.name()), messages, books })
}

impl Inputs {
    /// Hands both files over, opened, to `work`.
    pub fn read<T>(
        &self,
        work: impl FnOnce(&mut Lines<Box<dyn BufRead + '_>>, &mut Lines<Box<dyn BufRead + '_>>) -> Result<T>,
    ) -> Result<T> {
        // Two archives, because one cannot read two of its members at a time.
        let (mut first, mut second) = (self.messages.archive()?, self.books.archive()?);
        let mut messages = Lines::new(self.messages.name(), self.messages.reader(&mut first)?);
        let mut books = Lines::new(self.books.name(), self.books.reader(&mut second)?);
        work(&mut messages, &mut books)
    }
}

impl Part {
    fn name(&self) -> &str {
        match self {
            Part::Plain(path) => path.to_str().unwrap_or("(a name that is not UTF-8)"),
            Part::Zipped(_, _, name) => name,
        }
    }

    fn archive(&self) -> Result<Option<ZipArchive<BufReader<File>>>> {
        match self {
            Part::Plain(_) => Ok(None),
            Part::Zipped(path, ..) => archive(path).map(Some),
        }
    }

    fn reader<'a>(&self, archive: &'a mut Option<ZipArchive<BufReader<File>>>) -> Result<Box<dyn BufRead + 'a>> {
        match (self, archive) {
            (Part::Zipped(path, index, _), Some(archive)) => {
                let member = archive.by_index(*index).map_err(|e| not_a_zip(path, e))?;
                Ok(Box::new(BufReader::with_capacity(1 << 16, member)))
            }
            (Part::Plain(path) | Part::Zipped(path, ..), _) => {
                Ok(Box::new(BufReader::with_capacity(1 << 16, file(path)?)))
            }
        }
    }
}

fn file(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| {
        Error::input(
            path.display(),
            format!("cannot be opened: {e}"),
            "give a LOBSTER zip, or message.csv and orderbook.csv",
        )
    })
}

fn not_a_zip(path: &Path, e: zip::result::ZipError) -> Error {
    Error::input(
        path.display(),
        format!("cannot be read as a zip: {e}"),
        "give a LOBSTER zip whole, or both message.csv and orderbook.csv",
    )
}

fn archive(path: &Path) -> Result<ZipArchive<BufReader<File>>> {
    ZipArchive::new(BufReader::new(file(path)?)).map_err(|e| not_a_zip(path, e))
}

fn zipped(path: &Path, part: &str) -> Result<Part> {
    let archive = archive(path)?;
    let names = (0..archive.len()).filter_map(|i| Some((i, archive.name_for_index(i)?.ok()?.into_owned())));
    let mut found = names.filter(|(_, name)| name.contains(part));
    match (found.next(), found.next()) {
        (Some((index, name)), None) => Ok(Part::Zipped(path.to_owned(), index, name)),
        (None, _) => {
            let problem = format!("holds no file with \"{part}\" in its name");
            Err(Error::input(path.display(), problem, "give a zip as LOBSTER makes it"))
        }
        (Some((_, a)), Some((_, b))) => {
            let problem = format!("holds more than one day: {a} and {b}");
            Err(Error::input(path.display(), problem, "unpack it and give the two files of one day"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_symbol_and_date() {
        let names = Names::of("dir/GOOG_2012-06-21_34200000_57600000_message_10.csv");
        assert_eq!((names.symbol.as_deref(), names.date.unwrap().to_string().as_str()), (Some("GOOG"), "2012-06-21"));
        assert_eq!(Names::of("messages.csv"), Names::default());
    }
}

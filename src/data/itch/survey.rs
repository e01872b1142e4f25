//! The first pass: which stocks there are, and what they are called.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use super::super::raw::RawFile;
use super::frames::{Frame, Frames};
use super::message::{Body, Message, Symbol};
use crate::{Error, Result};

/// How many symbols a message lists.
const LISTED: usize = 12;

#[derive(Default)]
struct Stock {
    symbol: Option<Symbol>,
    /// The symbol is the directory's own.
    directory: bool,
    market: bool,
    status: bool,
}

#[derive(Default)]
pub(super) struct Survey {
    stocks: BTreeMap<u16, Stock>,
    messages: u64,
}

/// The stocks that are converted.
pub(super) struct Chosen {
    /// Symbol and number of each.
    pub symbols: Vec<(String, u32)>,
    /// By number.
    pub by_locate: Vec<bool>,
    /// Some of them have status messages.
    pub status: bool,
    /// Stocks left out because the file has nothing but status of them.
    pub quiet: u64,
}

impl Survey {
    pub fn read<R: BufRead>(file: &RawFile, frames: &mut Frames<R>) -> Result<Survey> {
        let mut survey = Survey::default();
        while let Some(frame) = frames.next().map_err(|e| file.broken(&e, bytes_in(frames.offset)))? {
            if let Frame::Message(message) = frame {
                survey.note(&message);
            }
        }
        if survey.messages == 0 {
            return Err(file.refused("holds no ITCH 5.0 message behind a two-byte length"));
        }
        Ok(survey)
    }

    fn note(&mut self, message: &Message) {
        self.messages += 1;
        if message.body == Body::Told {
            return;
        }
        let stock = self.stocks.entry(message.locate).or_default();
        let directory = matches!(message.body, Body::Directory { .. });
        // The directory's word counts; without it, the first order or trade that says a symbol.
        if stock.symbol.is_none() || directory && !stock.directory {
            stock.symbol = message.body.symbol().or(stock.symbol);
        }
        stock.directory |= directory;
        stock.market |= message.body.is_market();
        stock.status |= message.body.is_status();
    }

    /// The stocks of these symbols, or all that have orders or trades.
    pub fn choose(&self, file: &RawFile, wanted: &[String]) -> Result<Chosen> {
        let name = |locate: &u16, stock: &Stock| stock.symbol.map_or(locate.to_string(), |s| s.text().to_owned());
        let named: Vec<_> = self.stocks.iter().map(|(locate, stock)| (name(locate, stock), *locate, stock)).collect();
        let known: BTreeSet<&str> = named.iter().map(|(name, ..)| name.as_str()).collect();
        if let Some(missing) = wanted.iter().find(|symbol| !known.contains(symbol.as_str())) {
            let some: Vec<_> = known.iter().copied().take(LISTED).collect();
            let problem = format!("--symbols names \"{missing}\", which the file does not have");
            let mend = format!("name some of its {} stocks: {} ...", known.len(), some.join(", "));
            return Err(Error::input(file.path().display(), problem, mend));
        }
        let mut chosen = Chosen { symbols: Vec::new(), by_locate: vec![false; 1 << 16], status: false, quiet: 0 };
        for (name, locate, stock) in named {
            if wanted.contains(&name) || (wanted.is_empty() && stock.market) {
                chosen.by_locate[usize::from(locate)] = true;
                chosen.status |= stock.status;
                chosen.symbols.push((name, u32::from(locate)));
            } else {
                chosen.quiet += u64::from(wanted.is_empty());
            }
        }
        if chosen.symbols.is_empty() {
            let problem = format!("its {} messages have neither an order nor a trade", self.messages);
            return Err(file.refused(problem));
        }
        Ok(chosen)
    }
}

/// How far a file was good, for messages.
pub(super) fn bytes_in(offset: u64) -> String {
    format!("byte {offset} of its content")
}

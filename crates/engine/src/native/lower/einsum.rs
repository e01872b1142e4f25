//! Products of two computed operands: `Gemm` without constant weights, and `Einsum` as a product of matrices between moves.

use super::Lower;
use super::data::small;
use super::elementwise::broadcast;
use crate::native::Refusal;
use crate::native::graph::Node;
use crate::native::maps::Binary;
use crate::native::plan::{Slot, Step};
use crate::native::reduce::Reduce;

/// A term of an equation: an operand's buffer, a letter and a length for each of its axes.
struct Term {
    slot: Slot,
    letters: Vec<char>,
    dims: Vec<usize>,
}

impl Term {
    fn len_of(&self, letter: char) -> usize {
        self.letters.iter().position(|&l| l == letter).map_or(1, |i| self.dims[i])
    }

    fn product(&self, letters: &[char]) -> usize {
        letters.iter().map(|&l| self.len_of(l)).product()
    }
}

impl Lower<'_> {
    /// α A B + β C.
    pub(super) fn gemm_computed(&mut self, node: &Node) -> Result<(), Refusal> {
        let mut operands = Vec::new();
        for (i, turn) in [(0, "transA"), (1, "transB")] {
            let (mut dims, mut slot) = self.computed_input(node, i)?;
            if dims.len() == 2 && node.int(turn, 0) != 0 {
                slot = self.permute(slot, &dims, &[1, 0]);
                dims.reverse();
            }
            operands.push((dims, slot));
        }
        let (&[m, k], &[depth, n]) = (&operands[0].0[..], &operands[1].0[..]) else {
            return Err(node.refuse(format!("operands of {:?} and {:?} are no matrices", operands[0].0, operands[1].0)));
        };
        if depth != k {
            return Err(
                node.refuse(format!("operands of {:?} and {:?} do not go together", operands[0].0, operands[1].0))
            );
        }
        let len = small(node, &[m, n])?;
        let mut slot = self.buffer(len);
        self.steps.push(Step::MatMul { a: operands[0].1, b: operands[1].1, y: slot, batch: 1, m, k, n });
        slot = self.scaled(slot, len, node.float("alpha", 1.0));
        let y = if node.optional(2).is_none() {
            slot
        } else {
            let (dims, bias) = self.computed_input(node, 2)?;
            if broadcast(node, &[m, n], &dims)? != [m, n] {
                return Err(node.refuse(format!("a bias of {dims:?} for an output of {:?}", [m, n])));
            }
            let bias = self.scaled(bias, dims.iter().product(), node.float("beta", 1.0));
            let (b, y) = (self.stretch(bias, &dims, &[m, n]), self.buffer(len));
            self.steps.push(Step::Binary { a: slot, b, y, len, f: Binary::Add });
            y
        };
        self.known.insert(node.output()?, super::Known::Computed { dims: vec![m, n], slot: y });
        Ok(())
    }

    fn scaled(&mut self, x: Slot, len: usize, by: f32) -> Slot {
        if by == 1.0 {
            return x;
        }
        let y = self.buffer(len);
        self.affine_step(x, y, &vec![by; len], &vec![-0.0; len]);
        y
    }

    /// `MatMul` where one operand is a vector: the axis that it shares with the other goes.
    pub(super) fn mat_mul_vector(&mut self, node: &Node) -> Result<(), Refusal> {
        let mut terms = Vec::new();
        for (i, first) in [(0, 'a'), (1, 'A')] {
            let (dims, slot) = self.computed_input(node, i)?;
            let rank = dims.len();
            if rank == 0 || rank > 20 {
                return Err(node.refuse(format!("an operand of {dims:?} is no matrix")));
            }
            let mut letters: Vec<char> = (0..rank as u8).map(|axis| char::from(first as u8 + axis)).collect();
            // The last axis of the first, and of the second the last but one.
            letters[if i == 0 { rank - 1 } else { rank.saturating_sub(2) }] = 'z';
            terms.push(Term { slot, letters, dims });
        }
        let to: Vec<char> = terms.iter().flat_map(|term| term.letters.iter().copied()).filter(|&l| l != 'z').collect();
        self.contract(node, terms, &to)
    }

    /// One operand or two, letters for their axes: `bij,bjk->bik`.
    pub(super) fn einsum(&mut self, node: &Node) -> Result<(), Refusal> {
        let equation: String = node.text("equation").unwrap_or_default().chars().filter(|c| *c != ' ').collect();
        let senseless = || node.refuse(format!("equation `{equation}` is not taken"));
        let (from, to) = equation.split_once("->").ok_or_else(senseless)?;
        let (to, from): (Vec<char>, Vec<&str>) = (to.chars().collect(), from.split(',').collect());
        if from.len() != node.inputs.len() || !(1..=2).contains(&from.len()) {
            return Err(senseless());
        }
        let once = |letters: &[char]| {
            (0..letters.len()).all(|i| letters[i].is_ascii_alphabetic() && !letters[..i].contains(&letters[i]))
        };
        let mut terms = Vec::new();
        for (i, letters) in from.iter().enumerate() {
            let letters: Vec<char> = letters.chars().collect();
            let (dims, slot) = self.computed_input(node, i)?;
            if letters.len() != dims.len() || !once(&letters) {
                return Err(node.refuse(format!("equation `{equation}` is not taken for an operand of {dims:?}")));
            }
            terms.push(Term { slot, letters, dims });
        }
        if !once(&to) || to.iter().any(|l| terms.iter().all(|term| !term.letters.contains(l))) {
            return Err(senseless());
        }
        self.contract(node, terms, &to)
    }

    fn contract(&mut self, node: &Node, mut terms: Vec<Term>, to: &[char]) -> Result<(), Refusal> {
        let last = terms.pop().ok_or_else(|| node.refuse("it has no operand"))?;
        let made = match terms.pop() {
            None => self.summed(last, to),
            Some(first) => {
                let shared =
                    first.letters.iter().find(|&&l| last.letters.contains(&l) && first.len_of(l) != last.len_of(l));
                if let Some(letter) = shared {
                    return Err(node.refuse(format!(
                        "axis `{letter}` is {} and {} long",
                        first.len_of(*letter),
                        last.len_of(*letter)
                    )));
                }
                self.product(node, first, last, to)?
            }
        };
        let order: Vec<usize> = to.iter().filter_map(|l| made.letters.iter().position(|m| m == l)).collect();
        let dims = order.iter().map(|&i| made.dims[i]).collect();
        let slot = self.permute(made.slot, &made.dims, &order);
        self.known.insert(node.output()?, super::Known::Computed { dims, slot });
        Ok(())
    }

    /// The term with the axes summed that are not in `kept`.
    fn summed(&mut self, term: Term, kept: &[char]) -> Term {
        let stays = |l: &char| kept.contains(l);
        if term.letters.iter().all(stays) {
            return term;
        }
        let (stay, go): (Vec<char>, Vec<char>) = term.letters.iter().partition(|l| stays(l));
        let (rows, n) = (term.product(&stay), term.product(&go));
        let x = self.in_order(&term, &[&stay, &go]);
        let y = self.buffer(rows);
        self.steps.push(Step::Reduce { x, y, rows, n, f: Reduce::Sum });
        let dims = stay.iter().map(|&l| term.len_of(l)).collect();
        Term { slot: y, letters: stay, dims }
    }

    /// Two terms as matrices: what both have and the result has is a batch, what only the result lacks is summed over.
    fn product(&mut self, node: &Node, a: Term, b: Term, to: &[char]) -> Result<Term, Refusal> {
        let wanted = |other: &Term| [to, &other.letters].concat();
        let (a, b) = (self.summed(a, &wanted(&b)), b);
        let b = self.summed(b, &wanted(&a));
        let both = |l: &&char| b.letters.contains(l);
        let (batch, deep): (Vec<char>, Vec<char>) = a.letters.iter().filter(both).partition(|l| to.contains(l));
        let rows: Vec<char> = a.letters.iter().copied().filter(|l| !b.letters.contains(l)).collect();
        let columns: Vec<char> = b.letters.iter().copied().filter(|l| !a.letters.contains(l)).collect();
        let [count, m, k] = [a.product(&batch), a.product(&rows), a.product(&deep)];
        let n = b.product(&columns);
        small(node, &[count, m, n])?;
        let (x, w) = (self.in_order(&a, &[&batch, &rows, &deep]), self.in_order(&b, &[&batch, &deep, &columns]));
        let y = self.buffer(count * m * n);
        self.steps.push(Step::MatMul { a: x, b: w, y, batch: count, m, k, n });
        let letters = [batch, rows, columns].concat();
        let dims = letters.iter().map(|&l| a.len_of(l).max(b.len_of(l))).collect();
        Ok(Term { slot: y, letters, dims })
    }

    /// The term's values with its axes in this order.
    fn in_order(&mut self, term: &Term, letters: &[&[char]]) -> Slot {
        let order: Vec<usize> =
            letters.concat().iter().filter_map(|l| term.letters.iter().position(|m| m == l)).collect();
        self.permute(term.slot, &term.dims, &order)
    }
}

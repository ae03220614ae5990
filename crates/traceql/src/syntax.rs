//! A query as it is written: expressions with their places, before it is known what they mean.

use std::ops::Range;

use crate::field::Field;
use crate::predicate::{Arithmetic, Comparison};

/// Operators within braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    And,
    Or,
    Compare(Comparison),
    Match { negated: bool },
    Arithmetic(Arithmetic),
}

impl BinaryOp {
    pub(crate) fn of(symbol: &str) -> Option<Self> {
        match symbol {
            "&&" => Some(Self::And),
            "||" => Some(Self::Or),
            "=~" => Some(Self::Match { negated: false }),
            "!~" => Some(Self::Match { negated: true }),
            _ => Comparison::of(symbol)
                .map(Self::Compare)
                .or_else(|| Arithmetic::of(symbol).map(Self::Arithmetic)),
        }
    }

    /// The higher, the tighter. As in TraceQL `&&` and `||` bind alike: `a || b && c` is `(a || b) && c`.
    pub(crate) fn binding(self) -> u8 {
        match self {
            Self::And | Self::Or => 1,
            Self::Compare(_) | Self::Match { .. } => 2,
            Self::Arithmetic(Arithmetic::Add | Arithmetic::Subtract) => 3,
            Self::Arithmetic(Arithmetic::Multiply | Arithmetic::Divide | Arithmetic::Remainder) => 4,
            Self::Arithmetic(Arithmetic::Power) => 5,
        }
    }
}

/// An expression with its place.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) node: Node,
    /// One more than the highest of its parts. What walks a tree takes so much of the stack.
    pub(crate) height: u64,
    pub(crate) bytes: Range<usize>,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Field(Field),
    Text(Box<str>),
    /// Without its sign, as 2^63 has its place behind a minus alone.
    Int(u64),
    Double(f64),
    Duration(i64),
    /// `true`, `error`, `server`, `nil`: what it means depends on what it is compared with.
    Word(Box<str>),
    Not(Box<Expr>),
    Minus(Box<Expr>),
    /// `&&` or `||` between all of them: long ones are written, and are no deeper for it.
    List {
        op: BinaryOp,
        parts: Vec<Expr>,
    },
    /// Any other operator.
    Binary {
        op: BinaryOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
}

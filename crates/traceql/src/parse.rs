//! TraceQL: words to expressions. docs/search.md has the grammar.

use std::ops::Range;

use tracelake_model::limits;

use crate::QueryError;
use crate::field::{Field, Intrinsic};
use crate::lexer::{Placed, Token, words};
use crate::predicate::{Arithmetic, Predicate, TracePredicate};
use crate::syntax::{BinaryOp, Expr, Node};
use crate::typed;

/// Reads a query: spanset filters, combined with `&&` and `||`.
///
/// # Errors
/// If it is malformed, too large, or has something of TraceQL that is not there yet, which is named.
pub fn parse(text: &str) -> Result<TracePredicate, QueryError> {
    read(text).map_err(|error| error.of_text(text))
}

fn read(text: &str) -> Result<TracePredicate, QueryError> {
    if text.len() as u64 > limits::QUERY_BYTES_MAX {
        let message = format!("a query has at most {} bytes", limits::QUERY_BYTES_MAX);
        return Err(QueryError::too_large(0..0, message));
    }
    let words = words(text)?;
    let mut patterns = words.iter().filter(|word| matches!(word.token, Token::Symbol("=~" | "!~")));
    if let Some(word) = patterns.nth(limits::QUERY_PATTERNS_MAX as usize) {
        let message = format!("a query has at most {} regular expressions", limits::QUERY_PATTERNS_MAX);
        return Err(QueryError::too_large(word.bytes.clone(), message));
    }
    let mut parser = Parser { words: &words, at: 0, end: text.len(), depth: 0 };
    if words.is_empty() {
        let message = "an empty query: `{ }` finds every span, `{ name = \"GET /\" }` those of a name";
        return Err(QueryError::malformed(0..text.len(), message));
    }
    let (found, _) = parser.spansets()?;
    match parser.words.get(parser.at) {
        None => Ok(found),
        Some(word) => Err(parser.after_spanset(word)),
    }
}

/// Nanoseconds of a text that is a duration and nothing else.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (text, is_negative) = text.strip_prefix('-').map_or((text, false), |text| (text, true));
    match words(text).ok()?.as_slice() {
        [Placed { token: Token::Duration(nanoseconds), bytes }] if *bytes == (0..text.len()) => {
            Some(if is_negative { -nanoseconds } else { *nanoseconds })
        }
        _ => None,
    }
}

struct Parser<'w> {
    words: &'w [Placed],
    at: usize,
    /// Behind the last byte.
    end: usize,
    depth: u64,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.words.get(self.at).map(|word| &word.token)
    }

    /// The place of the next word, or the end.
    fn place(&self) -> Range<usize> {
        self.words.get(self.at).map_or(self.end..self.end, |word| word.bytes.clone())
    }

    fn takes(&mut self, symbol: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Symbol(next)) if *next == symbol);
        self.at += usize::from(is);
        is
    }

    /// For what reads itself again: it needs a stack before there is anything of a height.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, QueryError>) -> Result<T, QueryError> {
        if self.depth >= limits::QUERY_DEPTH_MAX {
            return Err(too_deep(self.place()));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// `{…}` with `&&` and `||` between, which bind alike, and how high that is.
    fn spansets(&mut self) -> Result<(TracePredicate, u64), QueryError> {
        let start = self.place().start;
        let (mut found, mut height) = self.spanset()?;
        loop {
            let is_and = self.takes("&&");
            if !is_and && !self.takes("||") {
                return Ok((found, height));
            }
            let (next, next_height) = self.spanset()?;
            let gets_longer = match &found {
                TracePredicate::AnySpan(_) | TracePredicate::Not(_) => false,
                TracePredicate::And(_) => is_and,
                TracePredicate::Or(_) => !is_and,
            };
            height = (next_height + 1).max(height + u64::from(!gets_longer));
            if height > limits::QUERY_DEPTH_MAX {
                return Err(too_deep(start..self.before()));
            }
            found = if is_and { found.and(next) } else { found.or(next) };
        }
    }

    fn spanset(&mut self) -> Result<(TracePredicate, u64), QueryError> {
        if self.takes("(") {
            let found = self.deeper(Self::spansets)?;
            if self.takes(")") {
                return Ok(found);
            }
            return Err(match self.words.get(self.at) {
                Some(word) => self.after_spanset(word),
                None => QueryError::malformed(self.place(), "`)` is missing"),
            });
        }
        if !self.takes("{") {
            return Err(self.not_a_spanset());
        }
        if self.takes("}") {
            return Ok((TracePredicate::AnySpan(Predicate::Constant(true)), 1));
        }
        let condition = self.expression(0)?;
        let predicate = typed::condition(&condition)?;
        if !self.takes("}") {
            let message = match self.peek() {
                None => "`}` is missing".to_owned(),
                Some(_) => {
                    "an operator is missing before this: && || = != > >= < <= =~ !~, or `}`".to_owned()
                }
            };
            return Err(QueryError::malformed(self.place(), message));
        }
        Ok((TracePredicate::AnySpan(predicate), 1))
    }

    /// What stands where `{` is expected.
    fn not_a_spanset(&self) -> QueryError {
        let place = self.place();
        match self.peek() {
            Some(Token::Symbol("!")) => {
                let message = "`!` before a spanset is not in TraceQL: `{ !(…) }` negates a span's condition";
                QueryError::malformed(place, message)
            }
            Some(Token::Symbol("!>" | "!>>" | "!<" | "!<<")) => {
                QueryError::unsupported(place, "a negated structural operator")
            }
            Some(Token::Word(word)) if is_pipeline(word) => {
                QueryError::unsupported(place, &format!("`{word}(…)`"))
            }
            Some(_) => {
                let message = "a query begins with `{`: conditions on a span stand in braces, \
                               as in `{ resource.service.name = \"cart\" }`";
                QueryError::malformed(place, message)
            }
            None => QueryError::malformed(place, "`{` is missing: a spanset filter is expected here"),
        }
    }

    /// What stands behind a spanset, and is no `&&` or `||`.
    fn after_spanset(&self, word: &Placed) -> QueryError {
        let place = word.bytes.clone();
        match &word.token {
            Token::Symbol("|") => {
                let behind = match self.words.get(self.at + 1).map(|word| &word.token) {
                    Some(Token::Word(name)) => format!("the pipeline `| {name}(…)`"),
                    _ => "a pipeline".to_owned(),
                };
                QueryError::unsupported(place, &behind)
            }
            Token::Symbol(
                symbol @ (">>" | "<<" | ">" | "<" | "~" | "!>>" | "!<<" | "!>" | "!<" | "!~" | "&>>" | "&<<"
                | "&>" | "&<" | "&~"),
            ) => QueryError::unsupported(place, &format!("the structural operator `{symbol}`")),
            Token::Word(word) if &**word == "with" => QueryError::unsupported(place, "`with (…)`"),
            _ => QueryError::malformed(place, "`&&` or `||` is expected here, or the end"),
        }
    }

    /// Operators that bind more tightly than this, with what is between them.
    fn expression(&mut self, binding: u8) -> Result<Expr, QueryError> {
        let mut left = self.unary()?;
        loop {
            let Some(Token::Symbol(symbol)) = self.peek() else { return Ok(left) };
            if *symbol == "==" {
                return Err(QueryError::malformed(self.place(), "`==` is written `=`"));
            }
            let Some(op) = BinaryOp::of(symbol).filter(|op| op.binding() > binding) else { return Ok(left) };
            self.at += 1;
            // `^` is the only one that groups from the right.
            let right = match op {
                BinaryOp::Arithmetic(Arithmetic::Power) => {
                    self.deeper(|parser| parser.expression(op.binding() - 1))?
                }
                _ => self.expression(op.binding())?,
            };
            left = combined(left, op, right)?;
        }
    }

    fn unary(&mut self) -> Result<Expr, QueryError> {
        let start = self.place().start;
        if self.takes("!") {
            let of = self.deeper(Self::unary)?;
            let bytes = start..of.bytes.end;
            return low_enough(Expr { height: of.height + 1, node: Node::Not(Box::new(of)), bytes });
        }
        if self.takes("-") {
            // -2 ^ 2 is -4.
            let of = self
                .deeper(|parser| parser.expression(BinaryOp::Arithmetic(Arithmetic::Multiply).binding()))?;
            let bytes = start..of.bytes.end;
            return low_enough(Expr { height: of.height + 1, node: Node::Minus(Box::new(of)), bytes });
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Expr, QueryError> {
        let bytes = self.place();
        if self.takes("(") {
            let inner = self.deeper(|parser| parser.expression(0))?;
            if !self.takes(")") {
                return Err(QueryError::malformed(self.place(), "`)` is missing"));
            }
            return Ok(Expr { bytes: bytes.start..self.before(), ..inner });
        }
        let node = match self.peek() {
            Some(Token::Attribute(scope, key)) => Node::Field(Field::attribute(*scope, key)),
            Some(Token::Text(text)) => Node::Text(text.clone()),
            Some(Token::Int(int)) => Node::Int(*int),
            Some(Token::Double(double)) => Node::Double(*double),
            Some(Token::Duration(nanoseconds)) => Node::Duration(*nanoseconds),
            Some(Token::Word(word)) => match Intrinsic::of(word) {
                Some(intrinsic) => Node::Field(Field::Intrinsic(intrinsic)),
                None if Intrinsic::is_unsupported(word) => {
                    return Err(QueryError::unsupported(bytes, &format!("`{word}`")));
                }
                None if is_pipeline(word)
                    && self.words.get(self.at + 1).is_some_and(|next| next.token == Token::Symbol("(")) =>
                {
                    return Err(QueryError::unsupported(bytes, &format!("`{word}(…)` within braces")));
                }
                None => Node::Word(word.clone()),
            },
            Some(Token::Symbol("}")) | None => {
                return Err(QueryError::malformed(bytes, "a value or a field is expected here"));
            }
            Some(Token::Symbol(symbol)) => {
                let message = format!("a value or a field is expected here, not `{symbol}`");
                return Err(QueryError::malformed(bytes, message));
            }
        };
        self.at += 1;
        Ok(Expr { node, height: 1, bytes })
    }

    /// Behind the last byte of the word before.
    fn before(&self) -> usize {
        self.at.checked_sub(1).and_then(|before| self.words.get(before)).map_or(0, |word| word.bytes.end)
    }
}

fn too_deep(bytes: Range<usize>) -> QueryError {
    QueryError::too_large(bytes, format!("a query is nested at most {} deep", limits::QUERY_DEPTH_MAX))
}

fn low_enough(expr: Expr) -> Result<Expr, QueryError> {
    if expr.height > limits::QUERY_DEPTH_MAX { Err(too_deep(expr.bytes)) } else { Ok(expr) }
}

/// `left op right`, where a list of the same operator gets longer and not higher.
fn combined(left: Expr, op: BinaryOp, right: Expr) -> Result<Expr, QueryError> {
    let bytes = left.bytes.start..right.bytes.end;
    let (of_left, of_right) = (left.height, right.height + 1);
    let (node, height) = match left.node {
        Node::List { op: same, mut parts } if same == op => {
            parts.push(right);
            (Node::List { op, parts }, of_right.max(of_left))
        }
        node => {
            let left = Expr { node, height: of_left, bytes: left.bytes };
            let node = if matches!(op, BinaryOp::And | BinaryOp::Or) {
                Node::List { op, parts: vec![left, right] }
            } else {
                Node::Binary { op, left: Box::new(left), right: Box::new(right) }
            };
            (node, of_right.max(of_left + 1))
        }
    };
    low_enough(Expr { node, height, bytes })
}

/// Functions of TraceQL's pipelines.
fn is_pipeline(word: &str) -> bool {
    [
        "count",
        "avg",
        "min",
        "max",
        "sum",
        "by",
        "select",
        "coalesce",
        "rate",
        "compare",
        "topk",
        "bottomk",
        "histogram_over_time",
        "quantile_over_time",
        "count_over_time",
        "min_over_time",
        "max_over_time",
        "avg_over_time",
        "sum_over_time",
    ]
    .contains(&word)
}

#[cfg(test)]
mod tests;

//! Cuts a body into events while it arrives: lines, or the elements of one JSON array.
//!
//! Memory is bounded: an event that grows beyond the limit is cut down to its head, and the rest of
//! it is only counted. The cutting knows strings and brackets, nothing else of JSON: whether a piece
//! is an event is for its contract to say.

/// What is kept of an event that is too large, for its dead letter.
pub const HEAD_BYTES: usize = 64 << 10;

/// A piece of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Number of the line or of the element, from 1.
    pub number: u64,
    /// Its bytes, or what is kept of them.
    pub bytes: Vec<u8>,
    /// What is wrong with it already.
    pub flaw: Option<Flaw>,
}

/// Why a piece cannot be an event, whatever its bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It is longer than the limit; this many bytes.
    TooLarge(u64),
    /// There is nothing between two commas or after the last one.
    Missing,
    /// The body ended within the array.
    Unclosed,
    /// There is text after the array.
    Trailing,
}

/// State of the cutting.
#[derive(Debug)]
pub struct Splitter {
    limit: usize,
    mode: Mode,
    number: u64,
    bytes: Vec<u8>,
    /// Length of the current piece, dropped bytes included.
    length: u64,
}

/// What the body turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Only white space so far.
    Start,
    /// One event a line.
    Lines,
    /// Within the array.
    Array(Nesting),
    /// The array is closed.
    Closed,
}

/// Where in an element the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Nesting {
    depth: u64,
    in_string: bool,
    escaped: bool,
    /// An element ended with a comma, so another one must follow.
    expecting: bool,
}

impl Splitter {
    /// Starts a body whose events may have `limit` bytes each.
    pub fn new(limit: usize) -> Self {
        Self { limit, mode: Mode::Start, number: 1, bytes: Vec::new(), length: 0 }
    }

    /// Starts a body that is lines, whatever its first byte.
    pub fn lines(limit: usize) -> Self {
        Self { mode: Mode::Lines, ..Self::new(limit) }
    }

    /// Takes bytes off `input` until a piece is complete; none when all of `input` is taken.
    pub fn next_piece(&mut self, input: &mut &[u8]) -> Option<Piece> {
        while !input.is_empty() {
            let piece = match self.mode {
                Mode::Start => {
                    self.start(input);
                    None
                }
                Mode::Lines => self.line(input),
                Mode::Array(nesting) => self.element(nesting, input),
                Mode::Closed => {
                    self.keep(input);
                    *input = &[];
                    None
                }
            };
            if piece.is_some() {
                return piece;
            }
        }
        None
    }

    /// The pieces that are left when the body has ended, until there is none.
    pub fn finish(&mut self) -> Option<Piece> {
        match self.mode {
            Mode::Start => None,
            Mode::Lines => self.cut_line(),
            Mode::Array(nesting) => {
                let nested = nesting.depth > 0 || nesting.in_string;
                if !nested && !self.bytes.is_empty() {
                    // The element is whole: it counts, and the missing bracket is the next piece.
                    self.trim_end();
                    return self.cut(None);
                }
                self.mode = Mode::Closed;
                self.cut(Some(Flaw::Unclosed))
            }
            Mode::Closed if self.bytes.is_empty() => None,
            Mode::Closed => self.cut(Some(Flaw::Trailing)),
        }
    }

    /// Skips white space and decides by the first other byte.
    fn start(&mut self, input: &mut &[u8]) {
        let Some(at) = input.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            self.number += newlines(input);
            *input = &[];
            return;
        };
        if input[at] == b'[' {
            self.mode = Mode::Array(Nesting::default());
            self.number = 1;
            *input = &input[at + 1..];
        } else {
            self.mode = Mode::Lines;
            self.number += newlines(&input[..at]);
            *input = &input[at..];
        }
    }

    /// Takes the rest of the line in hand, or as much of it as there is.
    fn line(&mut self, input: &mut &[u8]) -> Option<Piece> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
            self.keep(input);
            *input = &[];
            return None;
        };
        self.keep(&input[..end]);
        *input = &input[end + 1..];
        let piece = self.cut_line();
        if piece.is_none() {
            self.number += 1;
        }
        piece
    }

    /// The line in hand; an empty one is none.
    fn cut_line(&mut self) -> Option<Piece> {
        if self.bytes.last() == Some(&b'\r') {
            self.bytes.pop();
            self.length -= 1;
        }
        if is_blank(&self.bytes) && self.length == self.bytes.len() as u64 {
            self.bytes.clear();
            self.length = 0;
            return None;
        }
        self.cut(None)
    }

    /// Takes the rest of the element in hand, or as much of it as there is.
    fn element(&mut self, mut nesting: Nesting, input: &mut &[u8]) -> Option<Piece> {
        let end = input.iter().position(|byte| nesting.ends_at(*byte));
        let Some(end) = end else {
            self.mode = Mode::Array(nesting);
            self.keep(input);
            *input = &[];
            return None;
        };
        self.keep(&input[..end]);
        let last = input[end] == b']';
        *input = &input[end + 1..];
        self.trim_end();
        self.mode =
            if last { Mode::Closed } else { Mode::Array(Nesting { expecting: true, ..Nesting::default() }) };
        match self.bytes.is_empty() {
            false => self.cut(None),
            // `[]`
            true if last && !nesting.expecting => None,
            true => self.cut(Some(Flaw::Missing)),
        }
    }

    /// Adds to the piece in hand, within the limit.
    fn keep(&mut self, bytes: &[u8]) {
        if self.bytes.is_empty() && matches!(self.mode, Mode::Array(_) | Mode::Closed) {
            // Layout before an element is not part of it.
            let blank = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.append(&bytes[blank..]);
        } else {
            self.append(bytes);
        }
    }

    /// Layout after an element is not part of it either.
    fn trim_end(&mut self) {
        let kept = self.bytes.trim_ascii_end().len();
        self.length -= (self.bytes.len() - kept) as u64;
        self.bytes.truncate(kept);
    }

    /// Counts bytes and keeps those within the limit.
    fn append(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        // One byte more than the limit, so that a carriage return may follow a line of full length.
        let room = (self.limit + 1).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    /// Hands out the piece in hand and starts the next one.
    fn cut(&mut self, flaw: Option<Flaw>) -> Option<Piece> {
        let mut bytes = std::mem::take(&mut self.bytes);
        let length = std::mem::take(&mut self.length);
        let mut flaw = flaw;
        if length > self.limit as u64 {
            bytes.truncate(HEAD_BYTES);
            bytes.shrink_to_fit();
            flaw = flaw.or(Some(Flaw::TooLarge(length)));
        }
        let number = self.number;
        self.number += 1;
        Some(Piece { number, bytes, flaw })
    }
}

impl Nesting {
    /// Follows one byte; true when it ends the element.
    fn ends_at(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b',' | b']' if self.depth == 0 => return true,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        false
    }
}

/// True for layout only.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

/// Number of line ends.
fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests;

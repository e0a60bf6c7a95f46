//! Where a body ends, and which of its bytes go on (RFC 9112, sections 6 and 7).
//!
//! ```text
//! chunk     size (hexadecimal) [; extension] CR LF | data[size] | CR LF
//! last      0 [; extension] CR LF | trailer lines | CR LF
//! ```
//!
//! Chunks go on as they came, but extensions and trailers do not: what they
//! mean depends on who reads them. A size is 1 to 16 hexadecimal digits and
//! nothing else, and below 2 GiB, so that no reader's counter wraps round.
//! Lines end in CR LF, and no control character hides in what is skipped.

use super::Malformed;
use super::head::is_space;
use crate::protocol::{WireError, is_token};

/// The most bytes of extensions and trailers in one body.
pub const MAX_SKIPPED: u32 = 16 * 1024;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks, the last one empty.
    Chunked,
    /// Until the connection ends: only a response's.
    UntilClose,
}

/// What to do with the next bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Pass on so many of them, at least one.
    Forward(usize),
    /// Drop so many of them, at least one.
    Skip(usize),
    /// Nothing: the body has ended, and what follows is the next message.
    End,
}

/// One body on its way through.
#[derive(Clone, Debug)]
pub struct Body {
    state: State,
    decoded: bool,
    skipped: u32,
}

/// What the next byte is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    Size { digits: u8, size: u64 },
    Extension { size: u64 },
    SizeEnd { size: u64 },
    Data(u64),
    DataCr,
    DataLf,
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    LastLf,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// What the sender means.
    Content,
    /// What chunks are made of.
    Chunking,
    /// Extensions and trailers.
    Extra,
}

impl Body {
    /// A body that goes on with its framing.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size { digits: 0, size: 0 },
            Framing::UntilClose => State::UntilClose,
        };
        Self {
            state,
            decoded: false,
            skipped: 0,
        }
    }

    /// A body that goes on without its chunks, to a reader who knows none
    /// (HTTP/1.0); the end of the connection ends it there.
    #[must_use]
    pub const fn decoded(framing: Framing) -> Self {
        let mut body = Self::new(framing);
        body.decoded = true;
        body
    }

    /// What to do with `input`, the next bytes of the connection; `None` if
    /// there are none. The body moves on by as many bytes as it says.
    ///
    /// # Errors
    /// [`Malformed::Chunk`] and [`Malformed::Skipped`]: the message cannot be
    /// finished, both connections must close. All bytes before the wrong one
    /// have been passed on by then, however they were split.
    pub fn step(&mut self, input: &[u8]) -> Result<Option<Step>, WireError> {
        let mut len = 0;
        let mut forward = None;
        while let Some(rest @ [first, ..]) = input.get(len..)
            && self.state != State::Done
        {
            let (class, count, state) = match self.state.next(*first, rest.len()) {
                Ok(next) => next,
                Err(_) if len > 0 => break,
                Err(malformed) => return Err(malformed.into()),
            };
            let goes_on = class == Class::Content || (class == Class::Chunking && !self.decoded);
            if *forward.get_or_insert(goes_on) != goes_on {
                break;
            }
            if class == Class::Extra {
                if self.skipped == MAX_SKIPPED {
                    if len > 0 {
                        break;
                    }
                    return Err(Malformed::Skipped.into());
                }
                self.skipped += 1;
            }
            self.state = state;
            len += count;
        }
        Ok(match forward {
            Some(true) => Some(Step::Forward(len)),
            Some(false) => Some(Step::Skip(len)),
            None => self.has_ended().then_some(Step::End),
        })
    }

    /// How many of the next bytes go on whatever they are: they may be moved
    /// without being looked at, and then reported to [`Body::moved`].
    #[must_use]
    pub const fn blind(&self) -> u64 {
        match self.state {
            State::Length(left) | State::Data(left) => left,
            State::UntilClose => u64::MAX,
            _ => 0,
        }
    }

    /// `count` of the [`Body::blind`] bytes have been moved.
    pub const fn moved(&mut self, count: u64) {
        self.state = match self.state {
            State::Length(left) => State::length(left.saturating_sub(count)),
            State::Data(left) => State::data(left.saturating_sub(count)),
            state => state,
        };
    }

    /// Whether the body is all here.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether the body is all here if the connection ends now; else it is cut short.
    #[must_use]
    pub const fn may_end(&self) -> bool {
        matches!(self.state, State::Done | State::UntilClose)
    }
}

impl State {
    const fn length(left: u64) -> Self {
        match left {
            0 => Self::Done,
            left => Self::Length(left),
        }
    }

    const fn data(left: u64) -> Self {
        match left {
            0 => Self::DataCr,
            left => Self::Data(left),
        }
    }

    /// What `byte`, the first of `here`, is part of; how many bytes that holds
    /// for; and what comes after them.
    fn next(self, byte: u8, here: usize) -> Result<(Class, usize, Self), Malformed> {
        let chunking = |expected: u8, then: Self| {
            if byte == expected {
                Ok((Class::Chunking, 1, then))
            } else {
                Err(Malformed::Chunk)
            }
        };
        match self {
            Self::Length(left) => {
                let (count, left) = take(left, here);
                Ok((Class::Content, count, Self::length(left)))
            }
            Self::UntilClose => Ok((Class::Content, here, self)),
            Self::Size { digits, size } => in_size(byte, digits, size),
            Self::Extension { size } => match byte {
                b'\r' => chunking(b'\r', Self::SizeEnd { size }),
                b' '..=b'~' | b'\t' => Ok((Class::Extra, 1, self)),
                _ => Err(Malformed::Chunk),
            },
            Self::SizeEnd { size: 0 } => chunking(b'\n', Self::Trailer),
            Self::SizeEnd { size } => chunking(b'\n', Self::Data(size)),
            Self::Data(left) => {
                let (count, left) = take(left, here);
                Ok((Class::Content, count, Self::data(left)))
            }
            Self::DataCr => chunking(b'\r', Self::DataLf),
            Self::DataLf => chunking(b'\n', Self::Size { digits: 0, size: 0 }),
            Self::LastLf => chunking(b'\n', Self::Done),
            Self::Trailer if byte == b'\r' => chunking(b'\r', Self::LastLf),
            Self::Trailer | Self::TrailerName | Self::TrailerValue | Self::TrailerEnd => {
                let then = self.in_trailer(byte).ok_or(Malformed::Chunk)?;
                Ok((Class::Extra, 1, then))
            }
            Self::Done => Ok((Class::Content, 0, self)),
        }
    }

    /// The state after a byte of a trailer line: `name: value CR LF`.
    fn in_trailer(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Trailer | Self::TrailerName, byte) if is_token(byte) => Some(Self::TrailerName),
            (Self::TrailerName, b':') => Some(Self::TrailerValue),
            (Self::TrailerValue, b'\r') => Some(Self::TrailerEnd),
            (Self::TrailerValue, byte) if is_space(byte) || !byte.is_ascii_control() => Some(self),
            (Self::TrailerEnd, b'\n') => Some(Self::Trailer),
            _ => None,
        }
    }
}

/// The most hexadecimal digits of a size.
const MAX_DIGITS: u8 = 16;

/// The largest size of one chunk.
const MAX_CHUNK: u64 = 0x7fff_ffff;

fn in_size(byte: u8, digits: u8, size: u64) -> Result<(Class, usize, State), Malformed> {
    let hexadecimal = char::from(byte).to_digit(16);
    match (byte, hexadecimal) {
        (_, Some(digit)) if digits < MAX_DIGITS => {
            let size = size << 4 | u64::from(digit);
            if size > MAX_CHUNK {
                return Err(Malformed::Chunk);
            }
            let digits = digits + 1;
            Ok((Class::Chunking, 1, State::Size { digits, size }))
        }
        (b'\r', _) if digits > 0 => Ok((Class::Chunking, 1, State::SizeEnd { size })),
        (b';', _) if digits > 0 => Ok((Class::Extra, 1, State::Extension { size })),
        _ => Err(Malformed::Chunk),
    }
}

/// As many of `left` as are `here`, and how many are left then.
fn take(left: u64, here: usize) -> (usize, u64) {
    let count = usize::try_from(left).map_or(here, |left| left.min(here));
    (count, left - count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What goes on, how much is used and how it ended, fed `piece` bytes at a time.
    fn run(
        mut body: Body,
        input: &[u8],
        piece: usize,
    ) -> (Vec<u8>, usize, Result<bool, WireError>) {
        let (mut out, mut used) = (Vec::new(), 0);
        loop {
            let end = input.len().min(used + piece);
            match body.step(&input[used..end]) {
                Ok(Some(Step::Forward(count))) => {
                    assert!(count > 0 && used + count <= end);
                    out.extend(&input[used..used + count]);
                    used += count;
                }
                Ok(Some(Step::Skip(count))) => {
                    assert!(count > 0 && used + count <= end);
                    used += count;
                }
                Ok(Some(Step::End)) => {
                    assert!(body.has_ended() && body.may_end());
                    return (out, used, Ok(true));
                }
                Ok(None) => {
                    assert_eq!(used, input.len(), "all of the input is judged");
                    return (out, used, Ok(false));
                }
                Err(error) => return (out, used, Err(error)),
            }
        }
    }

    fn chunked(input: &[u8]) -> (Vec<u8>, usize, Result<bool, WireError>) {
        run(Body::new(Framing::Chunked), input, usize::MAX / 2)
    }

    #[test]
    fn lengths() {
        let run = |framing, input: &[u8]| run(Body::new(framing), input, 2);
        let none = (Vec::new(), 0, Ok(true));
        assert_eq!(run(Framing::None, b"GET"), none);
        assert_eq!(run(Framing::Length(0), b"GET"), none);
        assert_eq!(
            run(Framing::Length(5), b"helloGET"),
            (b"hello".to_vec(), 5, Ok(true))
        );
        assert_eq!(
            run(Framing::Length(6), b"hello"),
            (b"hello".to_vec(), 5, Ok(false))
        );
        assert_eq!(
            run(Framing::UntilClose, b"hello"),
            (b"hello".to_vec(), 5, Ok(false))
        );
    }

    #[test]
    fn the_end_of_a_connection_ends_some_bodies() {
        assert!(Body::new(Framing::None).may_end());
        assert!(Body::new(Framing::UntilClose).may_end());
        assert!(!Body::new(Framing::Length(1)).may_end());
        assert!(!Body::new(Framing::Chunked).may_end());
    }

    #[test]
    fn chunks_go_on_as_they_came() {
        let body = b"5\r\nhello\r\n00A\r\n, world\r\n!\r\n0\r\n\r\n";
        let input = [&body[..], b"GET / HTTP/1.1"].concat();
        assert_eq!(chunked(&input), (body.to_vec(), body.len(), Ok(true)));
        assert_eq!(chunked(b"5\r\nhel"), (b"5\r\nhel".to_vec(), 6, Ok(false)));
    }

    #[test]
    fn extensions_and_trailers_do_not() {
        let input = b"5;a=b; c=\"d;\"\r\nhello\r\n0;x\r\nTransfer-Encoding: chunked\r\nX: \xff \t\r\n\r\nGET";
        let (out, used, ended) = chunked(input);
        assert_eq!(out, b"5\r\nhello\r\n0\r\n\r\n");
        assert_eq!((used, ended), (input.len() - 3, Ok(true)));
    }

    #[test]
    fn a_reader_without_chunks_gets_the_content() {
        let input = b"5;a\r\nhello\r\n7\r\n, world\r\n0\r\nA: b\r\n\r\nGET";
        let (out, used, ended) = run(Body::decoded(Framing::Chunked), input, 1);
        assert_eq!(out, b"hello, world");
        assert_eq!((used, ended), (input.len() - 3, Ok(true)));
    }

    #[test]
    fn impossible_chunks() {
        for input in [
            &b"\r\n"[..],
            b";a\r\n",
            b" 5\r\n",
            b"5 \r\n",
            b"+5\r\n",
            b"-1\r\n",
            b"0x5\r\n",
            b"5\n",
            b"5\rX",
            b"5;a\n",
            b"5;a\rb",
            b"5;\0",
            b"5;\xff",
            b"5\r\nhelloX",
            b"5\r\nhello\n",
            b"5\r\nhello\r\r",
            b"80000000\r\n",
            b"00000000000000005",
            b"FFFFFFFFFFFFFFFFF",
            b"0\r\n\n",
            b"0\r\n X: y\r\n",
            b"0\r\nX : y\r\n",
            b"0\r\n: y\r\n",
            b"0\r\nX\r\n",
            b"0\r\nX: y\n",
            b"0\r\nX: y\r\n folded\r\n",
            b"0\r\nX: y\0\r\n",
            b"0\r\n\rX",
            b"g\r\n",
        ] {
            let text = String::from_utf8_lossy(input);
            let (.., ended) = chunked(input);
            assert_eq!(ended, Err(Malformed::Chunk.into()), "{text:?}");
        }
        assert_eq!(chunked(b"7fffffff\r\n").2, Ok(false));
        assert_eq!(chunked(b"0000000000000005\r\n").2, Ok(false));
    }

    #[test]
    fn what_is_skipped_is_bounded() {
        let most = usize::try_from(MAX_SKIPPED).unwrap();
        let mut input = b"1;".to_vec();
        input.resize(1 + most, b'a');
        let rest = b"\r\nx\r\n0\r\n\r\n";
        assert_eq!(chunked(&[&input[..], rest].concat()).2, Ok(true));
        input.push(b'a');
        let (out, _, ended) = chunked(&[&input[..], rest].concat());
        assert_eq!(
            (out, ended),
            (b"1".to_vec(), Err(Malformed::Skipped.into()))
        );
        let trailers = b"0\r\n"
            .iter()
            .chain(b"X: y\r\n".iter().cycle().take(most * 2));
        let trailers: Vec<u8> = trailers.copied().collect();
        assert_eq!(chunked(&trailers).2, Err(Malformed::Skipped.into()));
    }

    #[test]
    fn bytes_may_be_moved_unseen() {
        let mut body = Body::new(Framing::Chunked);
        assert_eq!(body.blind(), 0);
        assert_eq!(body.step(b"5\r\nh"), Ok(Some(Step::Forward(4))));
        assert_eq!(body.blind(), 4);
        body.moved(3);
        assert_eq!(body.blind(), 1);
        body.moved(1);
        assert_eq!(body.blind(), 0);
        assert_eq!(body.step(b"\r\n0\r\n\r\n"), Ok(Some(Step::Forward(7))));
        assert_eq!(body.step(b"GET"), Ok(Some(Step::End)));
        let mut length = Body::new(Framing::Length(3));
        length.moved(3);
        assert!(length.has_ended());
        assert_eq!(Body::new(Framing::UntilClose).blind(), u64::MAX);
    }

    fn input() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            "\r\n",
            "0\r\n",
            "3\r\nabc\r\n",
            "0\r\n\r\n",
            "2;x=y\r\nab\r\n",
            "A: b\r\n",
            ";",
            "\n",
            "1",
        ]);
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(input in input(), piece in 1usize..8, length in 0u64..20) {
            for body in [
                Body::new(Framing::Chunked),
                Body::decoded(Framing::Chunked),
                Body::new(Framing::Length(length)),
                Body::new(Framing::UntilClose),
            ] {
                let whole = run(body.clone(), &input, usize::MAX / 2);
                prop_assert_eq!(run(body, &input, piece), whole);
            }
        }

        #[test]
        fn what_goes_on_is_one_body_and_says_the_same(input in input()) {
            let (out, _, ended) = chunked(&input);
            let (again, used, same) = chunked(&out);
            prop_assert_eq!((&again, used, same), (&out, out.len(), ended.or(Ok(false))));
            let content = |input: &[u8]| run(Body::decoded(Framing::Chunked), input, 3).0;
            prop_assert_eq!(content(&out), content(&input));
        }
    }
}

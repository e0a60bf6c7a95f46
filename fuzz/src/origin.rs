//! A lenient origin: reads a stream of requests as RFC 9112 lets a recipient
//! read it, with every tolerance that the RFC grants or that servers are known
//! to take. It shares no code with the codecs.

/// One request as the origin understands it.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    /// Method, target and version.
    pub line: Vec<u8>,
    /// The values of Host.
    pub hosts: Vec<Vec<u8>>,
    /// The content, decoded.
    pub content: Vec<u8>,
    /// The names of all fields, in lower case, `_` read as `-`.
    pub names: Vec<String>,
}

/// All requests of a stream, and whether the last one is whole.
pub fn requests(mut stream: &[u8]) -> (Vec<Seen>, bool) {
    let mut seen = Vec::new();
    while !stream.is_empty() {
        let Some((request, rest)) = one(stream) else {
            return (seen, false);
        };
        seen.push(request);
        stream = rest;
    }
    (seen, true)
}

fn one(stream: &[u8]) -> Option<(Seen, &[u8])> {
    let (mut lines, mut rest) = (Vec::new(), stream);
    loop {
        let (line, after) = line(rest)?;
        rest = after;
        match (line.is_empty(), lines.is_empty()) {
            (true, true) => {}
            (true, false) => break,
            (false, _) => lines.push(line),
        }
    }
    let fields: Vec<(String, Vec<u8>)> = lines[1..].iter().map(|line| field(line)).collect();
    let values = |name: &str| {
        let named = fields.iter().filter(move |(given, _)| given == name);
        named.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    // Wherever "chunked" stands, somebody takes it for chunked.
    let chunked = values("transfer-encoding").iter().any(|value| {
        value
            .to_ascii_lowercase()
            .windows(7)
            .any(|w| w == b"chunked")
    });
    let length = values("content-length")
        .last()
        .map_or(0, |value| number(value));
    let (content, rest) = if chunked {
        chunks(rest)?
    } else {
        (rest.get(..length)?.to_vec(), &rest[length..])
    };
    let seen = Seen {
        line: lines[0].to_vec(),
        hosts: values("host"),
        content,
        names: fields.iter().map(|(name, _)| name.clone()).collect(),
    };
    Some((seen, rest))
}

/// A line may end in LF alone.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let line = &bytes[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &bytes[end + 1..]))
}

fn field(line: &[u8]) -> (String, Vec<u8>) {
    let colon = line
        .iter()
        .position(|&byte| byte == b':')
        .unwrap_or(line.len());
    let name = String::from_utf8_lossy(line[..colon].trim_ascii());
    let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
    (name.to_ascii_lowercase().replace('_', "-"), value.to_vec())
}

fn number(value: &[u8]) -> usize {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: usize, digit| {
        number
            .saturating_mul(10)
            .saturating_add(usize::from(digit - b'0'))
    })
}

fn chunks(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut content = Vec::new();
    loop {
        let (size, after) = line(rest)?;
        let digits = size.iter().take_while(|byte| byte.is_ascii_hexdigit());
        let size = digits.fold(0, |size: usize, &digit| {
            let digit = char::from(digit).to_digit(16).unwrap_or(0);
            size.saturating_mul(16).saturating_add(digit as usize)
        });
        rest = after;
        if size == 0 {
            break;
        }
        content.extend_from_slice(rest.get(..size)?);
        rest = line(&rest[size..])?.1;
    }
    loop {
        let (trailer, after) = line(rest)?;
        rest = after;
        if trailer.is_empty() {
            return Some((content, rest));
        }
    }
}

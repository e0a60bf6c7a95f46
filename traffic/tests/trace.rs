//! Traces: what is written is read back, and what is broken is refused where it
//! is broken.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{generator, open_loop};
use flow::{ByteSize, Timestamp};
use proptest::prelude::*;
use std::io::{self, Read};
use weirgate_traffic::trace::{Column, HEADER, MAX_LINE, Recording, WriteError};
use weirgate_traffic::{Mix, Packet, Source, TraceError, TraceReader, TraceWriter};

fn packet(at: u64, size: u64, user: u32, connection: u32) -> Packet {
    Packet {
        at: Timestamp::from_nanos(at),
        size: ByteSize::new(size),
        user,
        connection,
    }
}

fn written(packets: &[Packet], users: &[&str]) -> Vec<u8> {
    let mut writer = TraceWriter::new(Vec::new(), users).unwrap();
    for packet in packets {
        writer.write(packet).unwrap();
    }
    writer.finish().unwrap()
}

/// The packets before the first error, and the error.
fn read(text: &[u8]) -> (Vec<Packet>, Option<TraceError>) {
    let mut reader = match TraceReader::new(text) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut packets = Vec::new();
    for packet in reader.by_ref() {
        match packet {
            Ok(packet) => packets.push(packet),
            Err(error) => return (packets, Some(error)),
        }
    }
    assert!(reader.next().is_none());
    (packets, None)
}

fn refused(lines: &str) -> TraceError {
    read(format!("{HEADER}\n{lines}").as_bytes()).1.unwrap()
}

#[test]
fn a_trace_is_plain_text() {
    let packets = [
        packet(0, 1, 0, 0),
        packet(0, 1500, 1, 7),
        packet(u64::MAX, 1 << 30, 0, 999_999),
    ];
    let text = written(&packets, &["alice", "a, \"b\""]);
    assert_eq!(
        str::from_utf8(&text).unwrap(),
        "t_ns,size,user,connection\n\
         0,1,alice,0\n\
         0,1500,\"a, \"\"b\"\"\",7\n\
         18446744073709551615,1073741824,alice,999999\n"
    );
    let (again, error) = read(&text);
    assert!(error.is_none());
    assert_eq!(again, packets);
}

#[test]
fn other_ways_to_write_the_same() {
    let wanted = [packet(5, 10, 0, 0), packet(6, 20, 1, 2)];
    for text in [
        "t_ns,size,user,connection\n5,10,a,0\n6,20,b,2\n",
        "t_ns,size,user,connection\n5,10,a,0\n6,20,b,2",
        "t_ns,size,user,connection\r\n5,10,a,0\r\n\r\n6,20,b,2\r\n",
        "\u{feff}t_ns,size,user,connection\n\n5, 10 ,a,0\n006,20,\"b\", 2\n\n",
    ] {
        let (packets, error) = read(text.as_bytes());
        assert!(error.is_none(), "{text:?}: {error:?}");
        assert_eq!(packets, wanted, "{text:?}");
    }
}

#[test]
fn an_empty_trace_has_no_packets() {
    assert_eq!(read(HEADER.as_bytes()).0, []);
    assert!(read(HEADER.as_bytes()).1.is_none());
}

#[test]
fn users_are_numbered_as_they_appear_or_as_the_caller_has_them() {
    let text = format!("{HEADER}\n1,1,b,0\n2,1,a,0\n3,1,b,0\n");
    let mut reader = TraceReader::new(text.as_bytes()).unwrap();
    let users: Vec<_> = reader.by_ref().map(|packet| packet.unwrap().user).collect();
    assert_eq!(users, [0, 1, 0]);
    assert_eq!(reader.users(), ["b", "a"]);
    let reader = TraceReader::for_users(text.as_bytes(), ["a", "b", "c"]).unwrap();
    let users: Vec<_> = reader.map(|packet| packet.unwrap().user).collect();
    assert_eq!(users, [1, 0, 1]);
    let mut reader = TraceReader::for_users(text.as_bytes(), ["b"]).unwrap();
    assert!(reader.next().unwrap().is_ok());
    let error = reader.next().unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 3, column user: there is no user \"a\"; add the user or drop its packets"
    );
    assert!(reader.next().is_none(), "an error is the end");
}

#[test]
fn messages_name_the_place_and_the_remedy() {
    for (text, message) in [
        (
            "",
            "line 1 is \"\", not the header: write \"t_ns,size,user,connection\" there",
        ),
        (
            "0,1,a,0\n",
            "line 1 is \"0,1,a,0\", not the header: write \"t_ns,size,user,connection\" there",
        ),
    ] {
        assert_eq!(read(text.as_bytes()).1.unwrap().to_string(), message);
    }
    for (lines, line, column, message) in [
        (
            "0,1,a\n",
            2,
            None,
            "line 2 has 3 columns, not 4: write t_ns,size,user,connection, and a name with a comma in quotes",
        ),
        (
            "0,1,a,b,0\n",
            2,
            None,
            "line 2 has more than 4 columns, not 4: write t_ns,size,user,connection, and a name with a comma in quotes",
        ),
        (
            "0,1,a,0\n\n1,x,a,0\n",
            4,
            Some(Column::Size),
            "line 4, column size: \"x\" is not a whole number; write whole bytes, from 1 to 1073741824",
        ),
        (
            "1.5,1,a,0\n",
            2,
            Some(Column::Time),
            "line 2, column t_ns: \"1.5\" is not a whole number; write whole nanoseconds since the start",
        ),
        (
            "0,1,a,\n",
            2,
            Some(Column::Connection),
            "line 2, column connection: \"\" is not a whole number; write the connection's number, from 0 to 999999",
        ),
        (
            "-7,1,a,0\n",
            2,
            Some(Column::Time),
            "line 2, column t_ns: \"-7\" is negative; write whole nanoseconds since the start",
        ),
        (
            "0,0,a,0\n",
            2,
            Some(Column::Size),
            "line 2, column size: \"0\" is no size of a packet; write whole bytes, from 1 to 1073741824",
        ),
        (
            "0,1073741825,a,0\n",
            2,
            Some(Column::Size),
            "line 2, column size: \"1073741825\" is too large; write whole bytes, from 1 to 1073741824",
        ),
        (
            "18446744073709551616,1,a,0\n",
            2,
            Some(Column::Time),
            "line 2, column t_ns: \"18446744073709551616\" is too large; write whole nanoseconds since the start",
        ),
        (
            "0,1,a,1000000\n",
            2,
            Some(Column::Connection),
            "line 2, column connection: \"1000000\" is too large; write the connection's number, from 0 to 999999",
        ),
        (
            "5,1,a,0\n4,1,a,0\n",
            3,
            Some(Column::Time),
            "line 3, column t_ns: 4 is earlier than the 5 before it; sort the packets by time, as `sort -s -t, -k1,1n` does",
        ),
        (
            "0,1,,0\n",
            2,
            Some(Column::User),
            "line 2, column user: the name \"\" is empty; name each packet's user",
        ),
        (
            "0,1,\u{1b}[2J,0\n",
            2,
            Some(Column::User),
            "line 2, column user: the name \"\\u{1b}[2J\" has a control character; name each packet's user",
        ),
    ] {
        let error = refused(lines);
        assert_eq!(error.to_string(), message);
        assert_eq!((error.line(), error.column()), (line, column), "{lines:?}");
    }
}

#[test]
fn a_name_that_is_not_utf_8_is_refused() {
    let text = [HEADER.as_bytes(), b"\n0,1,\xff,0\n"].concat();
    assert!(matches!(
        read(&text).1,
        Some(TraceError::UserName { line: 2, .. })
    ));
}

#[test]
fn a_long_line_is_refused_and_not_held() {
    /// A line that never ends.
    #[derive(Debug)]
    struct Endless {
        header: &'static [u8],
        read: usize,
    }
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if !self.header.is_empty() {
                return self.header.read(buffer);
            }
            buffer.fill(b'1');
            self.read += buffer.len();
            assert!(self.read < 1 << 20, "read on and on");
            Ok(buffer.len())
        }
    }
    let header = b"t_ns,size,user,connection\n";
    let mut reader = TraceReader::new(Endless { header, read: 0 }).unwrap();
    let error = reader.next().unwrap().unwrap_err();
    assert!(matches!(error, TraceError::LongLine { line: 2 }));
    let error = TraceReader::new(Endless {
        header: &[],
        read: 0,
    })
    .unwrap_err();
    assert!(matches!(error, TraceError::LongLine { line: 1 }));
    let name = "n".repeat(MAX_LINE);
    assert!(matches!(
        refused(&format!("0,1,{name},0\n")),
        TraceError::LongLine { line: 2 }
    ));
    let name = "n".repeat(256);
    assert!(matches!(
        refused(&format!("0,1,{name},0\n")),
        TraceError::UserName { line: 2, .. }
    ));
    let name = "n".repeat(255);
    let (packets, error) = read(format!("{HEADER}\n0,1,{name},0\n").as_bytes());
    assert!(packets.len() == 1 && error.is_none());
}

#[test]
fn a_quote_that_is_not_closed_is_refused_on_its_line() {
    assert!(matches!(
        refused("0,1,\"a,0\n1,1,b,0\n"),
        TraceError::Columns { line: 2, found: 3 }
    ));
}

#[test]
fn a_failing_file_is_told_with_its_cause() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let text = format!("{HEADER}\n0,1,a,0\n");
    let mut reader = TraceReader::new(text.as_bytes().chain(Failing)).unwrap();
    assert!(reader.next().unwrap().is_ok());
    let error = reader.next().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "line 3 cannot be read");
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "the disk is gone");
}

#[test]
fn a_name_that_could_not_be_read_back_is_not_written() {
    for name in ["", "a\nb", "a\rb", &"n".repeat(256)] {
        let error = TraceWriter::new(Vec::new(), [name]).unwrap_err();
        assert!(matches!(error, WriteError::UserName { .. }), "{name:?}");
    }
    let mut writer = TraceWriter::new(Vec::new(), ["a"]).unwrap();
    let error = writer.write(&packet(0, 1, 1, 0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a packet of user number 1, but only 1 users have names"
    );
}

#[test]
fn a_recording_replays_each_sender_alone_and_all_together() {
    let patterns = ["bursty", "poisson:rate=1MB/s,size=imix"];
    let sources = patterns.iter().zip(0..).flat_map(|(pattern, user)| {
        (0..2).map(move |connection| Source {
            user,
            connection,
            start: Timestamp::ZERO,
            generator: generator(pattern, u64::from(10 * user + connection)),
        })
    });
    let packets: Vec<_> = Mix::new(sources).take(5_000).collect();
    let text = written(&packets, &["b", "a"]);
    let trace = TraceReader::new(&text[..]).unwrap();
    let recording = Recording::read(trace).unwrap();
    assert_eq!(recording.users(), ["b", "a"]);
    assert_eq!(recording.user("a"), Some(1));
    assert_eq!(recording.user("c"), None);
    assert_eq!(
        recording.senders().collect::<Vec<_>>(),
        [(0, 0), (0, 1), (1, 0), (1, 1)]
    );
    let largest = packets.iter().map(|packet| packet.size).max();
    assert_eq!(Some(recording.largest_packet()), largest);
    let replay = |start| {
        let recording = &recording;
        Mix::new(recording.senders().map(move |(user, connection)| Source {
            user,
            connection,
            start: Timestamp::from_nanos(start),
            generator: recording.generator(user, connection),
        }))
    };
    assert!(replay(0).eq(packets.iter().copied()));
    let later = packets.iter().map(|packet| Packet {
        at: Timestamp::from_nanos(packet.at.as_nanos() + 77),
        ..*packet
    });
    assert!(replay(77).eq(later));
}

#[test]
fn a_connection_that_is_not_in_the_trace_sends_nothing() {
    let trace = TraceReader::new(HEADER.as_bytes()).unwrap();
    let recording = Recording::read(trace).unwrap();
    assert_eq!(open_loop(recording.generator(0, 0)).next(), None);
}

fn packets() -> impl Strategy<Value = Vec<Packet>> {
    let one = (
        0..u64::MAX / 100,
        1_u64..=1 << 30,
        0_u32..3,
        0_u32..1_000_000,
    );
    proptest::collection::vec(one, 0..50).prop_map(|packets| {
        let mut packets: Vec<_> = packets
            .into_iter()
            .map(|(at, size, user, connection)| packet(at, size, user, connection))
            .collect();
        packets.sort_by_key(|packet| packet.at);
        packets
    })
}

fn names() -> impl Strategy<Value = [String; 3]> {
    let name = "[^\\p{Cc}]{1,20}";
    (name, name, name)
        .prop_map(|(a, b, c)| [a, b, c])
        .prop_filter("different names", |[a, b, c]| a != b && b != c && a != c)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(packets in packets(), names in names()) {
        let mut writer = TraceWriter::new(Vec::new(), &names).unwrap();
        for packet in &packets {
            writer.write(packet).unwrap();
        }
        let text = writer.finish().unwrap();
        let reader = TraceReader::for_users(&text[..], names).unwrap();
        let again: Result<Vec<_>, _> = reader.collect();
        prop_assert_eq!(again.unwrap(), packets);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000), header in any::<bool>()) {
        let start = if header { "t_ns,size,user,connection\n" } else { "" };
        let text = [start.as_bytes(), &bytes].concat();
        let (_, error) = read(&text);
        let harmless = |error: TraceError| {
            error.line() >= 1 && !error.to_string().contains(char::is_control)
        };
        prop_assert!(error.is_none_or(harmless));
    }

    /// One byte of a good trace changed: read to the end, or refused on that line or later.
    #[test]
    fn damage_is_found_or_harmless(
        packets in packets(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut text = written(&packets, &["a", "b", "c"]);
        let place = place.index(text.len());
        text[place] = byte;
        let line = 1 + text[..place].iter().filter(|byte| **byte == b'\n').count();
        if let (_, Some(error)) = read(&text) {
            prop_assert!(error.line() >= line as u64, "{}", error);
        }
    }
}

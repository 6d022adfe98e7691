//! Node-to-node frames: the eight-byte header, its checksum, and cutting a stream into frames.
//!
//! ```text
//! [version u8][type u8][length u32][checksum u16][payload]      big-endian
//! ```
//!
//! `length` counts the payload; `checksum` is CRC-16/CCITT-FALSE over header bytes 0..6 and the
//! payload. What a payload means is `wire/peer.rs`. Version 0x02 (compression) is not spoken yet
//! and is refused. Source: DeCube's network protocol, "Binary Protocol".

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::base::limit;

/// The version every frame we send carries.
pub const VERSION: u8 = 0x01;
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 8;

/// A frame: its type byte and its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// See `wire/peer.rs`; any value may arrive.
    pub kind: u8,
    /// At most 1 MiB, and on a link or datagram of members what authenticates it.
    pub payload: Bytes,
}

/// Why bytes are not a frame; the peer is to blame and a stream cannot be resynchronised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A version we do not speak.
    #[error("frame version {got:#04x}, expected {VERSION:#04x}")]
    Version {
        /// The byte received.
        got: u8,
    },
    /// The payload is longer than a message may be.
    #[error("frame payload of {got} bytes, at most {max} fit", max = limit::FRAME_BYTES_MAX)]
    TooLong {
        /// Its announced length.
        got: usize,
    },
    /// The bytes were damaged on the way.
    #[error("frame checksum {got:#06x}, expected {expected:#06x}")]
    Checksum {
        /// As received.
        got: u16,
        /// As computed.
        expected: u16,
    },
    /// A datagram whose length and header disagree.
    #[error("datagram of {got} bytes, its header announces {expected}")]
    Length {
        /// Bytes received.
        got: usize,
        /// Bytes announced.
        expected: usize,
    },
}

impl Frame {
    /// The frame's bytes.
    ///
    /// # Panics
    /// When the payload is over 1 MiB: callers page before they frame.
    pub fn encode(&self) -> Bytes {
        assert!(
            self.payload.len() <= limit::MESSAGE_BYTES_MAX,
            "a payload fits one message"
        );
        assemble(self.kind, &[&self.payload])
    }

    /// The same frame with a longer payload: what was there, and `trailer`.
    ///
    /// # Panics
    /// When `bytes` are not what [`Frame::encode`] made, or the trailer is too long.
    pub fn extend(bytes: &[u8], trailer: &[u8]) -> Bytes {
        assert!(
            trailer.len() <= limit::SEAL_BYTES_MAX,
            "what authenticates a frame is bounded"
        );
        assemble(bytes[1], &[&bytes[HEADER_BYTES..], trailer])
    }

    /// Reads a datagram that is exactly one frame.
    ///
    /// # Errors
    /// Any [`FrameError`].
    pub fn from_datagram(bytes: &[u8]) -> Result<Frame, FrameError> {
        let mut buffer = BytesMut::from(bytes);
        match take(&mut buffer)? {
            Some(frame) if buffer.is_empty() => Ok(frame),
            Some(frame) => Err(FrameError::Length {
                got: bytes.len(),
                expected: HEADER_BYTES + frame.payload.len(),
            }),
            None => Err(FrameError::Length {
                got: bytes.len(),
                expected: HEADER_BYTES,
            }),
        }
    }
}

fn assemble(kind: u8, payload: &[&[u8]]) -> Bytes {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + length);
    bytes.put_u8(VERSION);
    bytes.put_u8(kind);
    bytes.put_u32(length as u32);
    let header = crc16(CRC_INIT, &bytes);
    let checksum = payload.iter().fold(header, |crc, part| crc16(crc, part));
    bytes.put_u16(checksum);
    payload.iter().for_each(|part| bytes.put_slice(part));
    bytes.freeze()
}

/// Takes the next whole frame off the front of a stream's buffer; none: more bytes are needed.
///
/// # Errors
/// Any [`FrameError`] but `Length`; the stream is then beyond repair.
pub fn take(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    if buffer.first().is_some_and(|&version| version != VERSION) {
        return Err(FrameError::Version { got: buffer[0] });
    }
    if buffer.len() < HEADER_BYTES {
        return Ok(None);
    }
    let length = u32::from_be_bytes([buffer[2], buffer[3], buffer[4], buffer[5]]) as usize;
    if length > limit::FRAME_BYTES_MAX {
        return Err(FrameError::TooLong { got: length });
    }
    if buffer.len() < HEADER_BYTES + length {
        return Ok(None);
    }
    let got = u16::from_be_bytes([buffer[6], buffer[7]]);
    let body = &buffer[HEADER_BYTES..HEADER_BYTES + length];
    let expected = crc16(crc16(CRC_INIT, &buffer[..6]), body);
    if got != expected {
        return Err(FrameError::Checksum { got, expected });
    }
    let kind = buffer[1];
    buffer.advance(HEADER_BYTES);
    Ok(Some(Frame {
        kind,
        payload: buffer.split_to(length).freeze(),
    }))
}

const CRC_INIT: u16 = 0xffff;

const CRC_TABLE: [u16; 256] = {
    let mut table = [0u16; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 0x8000 != 0 {
                value << 1 ^ 0x1021
            } else {
                value << 1
            };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

/// Continues CRC-16/CCITT-FALSE (polynomial 0x1021, no reflection) over `bytes`.
fn crc16(crc: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(crc, |crc, &byte| {
        crc << 8 ^ CRC_TABLE[usize::from((crc >> 8) as u8 ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn checksum_has_the_catalogued_check_value() {
        assert_eq!(crc16(CRC_INIT, b"123456789"), 0x29b1);
    }

    #[test]
    fn foreign_version_is_refused_by_its_first_byte() {
        let mut buffer = BytesMut::from(&[2u8][..]);
        assert_eq!(take(&mut buffer), Err(FrameError::Version { got: 2 }));
    }

    #[test]
    fn announced_length_over_the_limit_is_refused_before_it_is_awaited() {
        let mut buffer = BytesMut::from(&[1u8, 1, 0xff, 0, 0, 0, 0, 0][..]);
        assert!(matches!(take(&mut buffer), Err(FrameError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn frames_are_read_back_however_the_stream_is_cut(
            frames in proptest::collection::vec(
                (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300)),
                0..5,
            ),
            cut in 1usize..50,
        ) {
            let frames: Vec<Frame> = frames
                .into_iter()
                .map(|(kind, payload)| Frame { kind, payload: payload.into() })
                .collect();
            let stream: Vec<u8> = frames.iter().flat_map(|f| f.encode().to_vec()).collect();
            let mut buffer = BytesMut::new();
            let mut read = Vec::new();
            for piece in stream.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = take(&mut buffer).unwrap() {
                    read.push(frame);
                }
            }
            prop_assert_eq!(read, frames);
        }

        #[test]
        fn any_flipped_bit_is_noticed(
            kind: u8,
            payload in proptest::collection::vec(any::<u8>(), 0..100),
            position: prop::sample::Index,
            bit in 0u8..8,
        ) {
            let frame = Frame { kind, payload: payload.into() };
            let mut bytes = frame.encode().to_vec();
            let position = position.index(bytes.len());
            bytes[position] ^= 1 << bit;
            prop_assert!(Frame::from_datagram(&bytes).is_err());
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Frame::from_datagram(&bytes);
        }
    }
}

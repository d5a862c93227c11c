//! Which schema of a registry a record was written with: named in a header, or framing the body, as Confluent's clients
//! do.
//!
//! ```text
//! header __value_schema_id:  0x00 id (4 bytes)  or  0x01 GUID (16 bytes); the body stays as it is
//! frame of the body:         0x00 id (4 bytes), then the body
//! ```
//!
//! No JSON begins with 0x00, so a frame is known by its first byte, whether there is a registry or not.

use std::fmt;

use uuid::Uuid;

/// The Kafka header that names the schema of a record's value.
pub const HEADER: &str = "__value_schema_id";

/// First byte of a frame, and of a header with an id.
const ID: u8 = 0;

/// First byte of a header with a GUID.
const GUID: u8 = 1;

/// What stands before the body of a framed record.
pub type Frame = [u8; 5];

/// The name of a schema in a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SchemaId {
    /// Its number.
    Id(u32),
    /// Its GUID, the same in every registry.
    Guid(Uuid),
    /// A header that has neither form.
    Unreadable,
}

impl SchemaId {
    /// Reads the header.
    pub fn from_header(header: &[u8]) -> Self {
        match header.split_first() {
            Some((&ID, id)) => id.try_into().map_or(Self::Unreadable, |id| Self::Id(u32::from_be_bytes(id))),
            Some((&GUID, guid)) => Uuid::from_slice(guid).map_or(Self::Unreadable, Self::Guid),
            _ => Self::Unreadable,
        }
    }

    /// The value of the header; empty for what has no form.
    pub fn to_header(self) -> Vec<u8> {
        match self {
            Self::Id(id) => [&[ID], id.to_be_bytes().as_slice()].concat(),
            Self::Guid(guid) => [&[GUID], guid.as_bytes().as_slice()].concat(),
            Self::Unreadable => Vec::new(),
        }
    }

    /// Reads a frame.
    pub fn from_frame(frame: Frame) -> Self {
        Self::from_header(&frame)
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "id {id}"),
            Self::Guid(guid) => write!(f, "GUID {guid}"),
            Self::Unreadable => {
                write!(f, "{HEADER}, which is neither 0x00 and 4 bytes nor 0x01 and 16 bytes")
            }
        }
    }
}

/// A value without its frame, and the frame where it has one.
pub fn split(value: &[u8]) -> (Option<Frame>, &[u8]) {
    match value.split_first_chunk() {
        Some((frame, body)) if frame[0] == ID => (Some(*frame), body),
        _ => (None, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_and_a_guid_survive_the_header() {
        let guid = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
        assert_eq!(SchemaId::Id(300).to_header(), [0, 0, 0, 1, 44]);
        assert_eq!(SchemaId::Guid(guid).to_header()[..4], [1, 0, 0x11, 0x22]);
        for id in [SchemaId::Id(0), SchemaId::Id(u32::MAX), SchemaId::Guid(guid)] {
            assert_eq!(SchemaId::from_header(&id.to_header()), id);
        }
        for header in [&[][..], &[0, 1], &[0, 0, 0, 0, 0, 1], &[1, 2, 3, 4, 5], &[2, 0, 0, 0, 1], b"00000007"]
        {
            assert_eq!(SchemaId::from_header(header), SchemaId::Unreadable, "{header:?}");
        }
    }

    #[test]
    fn a_frame_is_known_by_its_first_byte() {
        assert_eq!(split(b"\0\0\0\0\x07{}"), (Some([0, 0, 0, 0, 7]), &b"{}"[..]));
        assert_eq!(SchemaId::from_frame([0, 0, 0, 1, 0]), SchemaId::Id(256));
        for plain in [&b""[..], b"\0\0\0\0", b"{\"a\": 1}"] {
            assert_eq!(split(plain), (None, plain));
        }
    }
}

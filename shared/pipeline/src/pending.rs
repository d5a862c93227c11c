//! Outputs that are committed before they are sent.
//!
//! A batch's outputs lie compressed beside its offset until Kafka has acknowledged them. Whoever
//! takes the partition over after a crash sends exactly these again, so that two attempts can never
//! publish two different decisions about the same input.
//!
//! A pack begins with a mark and the version of its form, then LZ4 with its size in front, of
//! postcard. Packs of before there were versions begin with the size at once, which is never so large.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

use crate::record::Output;

/// First bytes of a pack that names its version: no size of what lies packed.
const MARK: [u8; 4] = [0xff; 4];
/// The form that [`pack`] writes. Another one wants another number, and [`unpack`] to read both.
const VERSION: u8 = 1;

/// An output as it was kept before there were versions; its partition was not.
#[derive(Deserialize)]
struct Unversioned {
    topic: Arc<str>,
    key: Option<Vec<u8>>,
    payload: Vec<u8>,
    timestamp_ms: i64,
    headers: Vec<(String, String)>,
}

impl From<Unversioned> for Output {
    fn from(kept: Unversioned) -> Self {
        let Unversioned { topic, key, payload, timestamp_ms, headers } = kept;
        let headers = headers.into_iter().map(|(name, value)| (Cow::Owned(name), value)).collect();
        Self { topic, key, payload, timestamp_ms, headers, partition: None }
    }
}

/// Packs outputs for `ops.pending_outputs`.
pub fn pack(outputs: &[&Output]) -> anyhow::Result<Vec<u8>> {
    let plain = postcard::to_allocvec(outputs)?;
    let head = [&MARK[..], &[VERSION], &u32::try_from(plain.len())?.to_le_bytes()].concat();
    let mut packed = vec![0; head.len() + lz4_flex::block::get_maximum_output_size(plain.len())];
    packed[..head.len()].copy_from_slice(&head);
    let length = lz4_flex::compress_into(&plain, &mut packed[head.len()..])?;
    packed.truncate(head.len() + length);
    Ok(packed)
}

/// Unpacks what [`pack`] wrote, in this version or an older one.
///
/// **Errors**: damaged bytes, or a form that only a newer version knows.
pub fn unpack(bytes: &[u8]) -> anyhow::Result<Vec<Output>> {
    match bytes.strip_prefix(&MARK) {
        Some([VERSION, packed @ ..]) => {
            Ok(postcard::from_bytes(&lz4_flex::decompress_size_prepended(packed)?)?)
        }
        Some([newer, ..]) => anyhow::bail!(
            "outputs are kept in form {newer}, this version knows {VERSION}: run the version that kept them, or a \
             newer one"
        ),
        Some([]) => anyhow::bail!("kept outputs end after their mark"),
        None => {
            let kept: Vec<Unversioned> = postcard::from_bytes(&lz4_flex::decompress_size_prepended(bytes)?)?;
            Ok(kept.into_iter().map(Output::from).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two outputs as they were kept before there were versions.
    const UNVERSIONED: &str = "82000000f31402096464735f746f706963010737363038323938167b226f626a6563745f6964223a20\
        1600f2047dc2eff8cda56501066f726967696e0d7374673800462f302f3146003f00280001001470c2eff8cda56500";

    fn output() -> Output {
        Output {
            topic: "dds_topic".into(),
            key: Some(b"7608298".to_vec()),
            payload: br#"{"object_id": 7608298}"#.to_vec(),
            timestamp_ms: 1_740_214_574_049,
            headers: vec![("origin".into(), "stg_topic/0/1".into())],
            partition: None,
        }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    #[test]
    fn outputs_survive_packing_with_their_partition() {
        let output =
            Output {
                payload: "какой-то суп".as_bytes().repeat(100), partition: Some(7), ..output()
            };
        let packed = pack(&[&output, &output]).expect("packs");
        assert!(packed.len() < output.payload.len());
        assert_eq!(unpack(&packed).expect("unpacks"), vec![output.clone(), output]);
    }

    #[test]
    fn outputs_of_before_there_were_versions_are_read_without_a_partition() {
        let second = Output { key: None, payload: vec![0; 40], headers: Vec::new(), ..output() };
        assert_eq!(unpack(&bytes(UNVERSIONED)).expect("unpacks"), vec![output(), second]);
    }

    #[test]
    fn a_newer_form_says_what_to_run_and_damaged_bytes_are_an_error() {
        let mut packed = pack(&[&output()]).expect("packs");
        packed[4] = 9;
        let error = unpack(&packed).expect_err("a newer form").to_string();
        assert!(error.contains("form 9") && error.contains("newer"), "{error}");
        for damaged in [&b"\x01\x00\x00\x00\xff"[..], b"", &MARK, &[0xff; 6], &packed[..4]] {
            assert!(unpack(damaged).is_err(), "{damaged:?}");
        }
    }
}

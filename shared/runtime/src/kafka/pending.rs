//! Outputs that are committed before they are sent.
//!
//! A batch's outputs lie compressed beside its offset until Kafka has acknowledged them. Whoever
//! takes the partition over after a crash sends exactly these again, so that two attempts can never
//! publish two different decisions about the same input.

use super::record::Output;

/// Packs outputs for `ops.pending_outputs`.
pub fn pack(outputs: &[&Output]) -> Result<Vec<u8>, postcard::Error> {
    Ok(lz4_flex::compress_prepend_size(&postcard::to_allocvec(outputs)?))
}

/// Unpacks what [`pack`] wrote.
pub fn unpack(bytes: &[u8]) -> anyhow::Result<Vec<Output>> {
    Ok(postcard::from_bytes(&lz4_flex::decompress_size_prepended(bytes)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_survive_packing() {
        let output = Output {
            topic: "dds_topic".into(),
            key: Some(b"7608298".to_vec()),
            payload: "какой-то суп".as_bytes().repeat(100),
            timestamp_ms: 1_740_214_574_049,
            headers: vec![("origin".into(), "stg_topic/0/1".into())],
        };
        let packed = pack(&[&output, &output]).expect("packs");
        assert!(packed.len() < output.payload.len());
        assert_eq!(unpack(&packed).expect("unpacks"), vec![output.clone(), output]);
        assert!(unpack(b"\x01\x00\x00\x00\xff").is_err());
    }
}

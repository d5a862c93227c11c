//! Pages of a ranking, and the cursor between them.
//!
//! The cursor is a key (score and member), not a rank: counts grow while somebody reads, and with ranks a
//! member that was pushed down would show twice. With the key, none shows twice, and only a member that
//! overtakes the cursor while it is read is missed.

use redis::{RedisResult, Script};
use strata_service::redis::Connection;

/// The last member that a page showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    score: u64,
    member: String,
}

impl Cursor {
    /// Reads what [`Self::encode`] wrote.
    pub fn decode(text: &str) -> Option<Self> {
        let (score, member) = text.split_once('-')?;
        let hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hex(score) || !hex(member) || !member.len().is_multiple_of(2) {
            return None;
        }
        let bytes: Option<Vec<u8>> = (0..member.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(member.get(at..at + 2)?, 16).ok())
            .collect();
        let score = u64::from_str_radix(score, 16).ok().filter(|score| *score < 1 << 53)?;
        Some(Self { score, member: String::from_utf8(bytes?).ok()? })
    }

    /// The cursor as text that needs no escaping in a URL or a header.
    pub fn encode(&self) -> String {
        let member: String = self.member.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("{:x}-{member}", self.score)
    }
}

/// Members in order, and how to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Members there are in all.
    pub count: u64,
    /// Member and score, highest first; members of one score in name order.
    pub entries: Vec<(String, u64)>,
    /// Where the next page begins; none on the last.
    pub next: Option<Cursor>,
}

/// Reads pages of sorted sets.
#[derive(Clone)]
pub struct Ranking {
    redis: Connection,
    read: Script,
}

impl Ranking {
    /// Prepares the script.
    pub fn new(redis: Connection) -> Self {
        Self { redis, read: Script::new(include_str!("../../lua/read_ranking.lua")) }
    }

    /// Reads a page as of one moment.
    pub async fn page(&self, key: &str, limit: usize, after: Option<&Cursor>) -> RedisResult<Page> {
        let mut redis = self.redis.clone();
        let mut call = self.read.key(key);
        // One more than asked for tells whether there is a next page.
        call.arg(limit + 1);
        match after {
            Some(cursor) => call.arg(cursor.score).arg(&cursor.member),
            None => call.arg("").arg(""),
        };
        let (count, mut entries): (u64, Vec<(String, u64)>) = call.invoke_async(&mut redis).await?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let last = entries.last().filter(|_| more);
        let next = last.map(|(member, score)| Cursor { score: *score, member: member.clone() });
        Ok(Page { count, entries, next })
    }

    /// Reads hashes of prices, one a key.
    pub async fn prices(&self, keys: impl Iterator<Item = String>) -> RedisResult<Vec<Vec<(String, i64)>>> {
        let mut pipeline = redis::pipe();
        let mut empty = true;
        for key in keys {
            pipeline.hgetall(key);
            empty = false;
        }
        if empty {
            return Ok(Vec::new());
        }
        pipeline.query_async(&mut self.redis.clone()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        for member in ["6032", "Отель / & ?", "a-b"] {
            let cursor = Cursor { score: 77, member: member.to_owned() };
            assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }
    }

    #[test]
    fn text_of_another_form_is_no_cursor() {
        for text in
            ["", "-", "5", "5-", "5-6", "5-zz", "z-36", "5-ff", "-36", "5-+1", "5-é1", "20000000000000-36"]
        {
            assert_eq!(Cursor::decode(text), None, "{text}");
        }
    }
}

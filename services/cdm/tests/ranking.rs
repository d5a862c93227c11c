//! Pages of rankings.

use cdm::metrics::ranking::{Cursor, Ranking};
use redis::Commands as _;

use crate::support::Sandbox;

#[tokio::test]
async fn pages_of_any_size_join_to_the_whole_in_order() {
    let mut sandbox = Sandbox::new();
    // GIVEN members with many ties, some only apart in bytes beyond ASCII
    let key = sandbox.keys.users();
    let mut members: Vec<(u64, String)> =
        (0..60).map(|n| (n % 4 + 1, format!("{:02}", (n * 7) % 60))).collect();
    members.extend(["Ä", "a", "B", "я", "aa"].map(|name| (2, name.to_owned())));
    sandbox.sync().zadd_multiple::<_, _, _, ()>(&key, &members).expect("adds");
    members.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let expected: Vec<(String, u64)> = members.into_iter().map(|(score, member)| (member, score)).collect();
    let ranking = Ranking::new(sandbox.connection());
    for limit in [1, 2, 7, 15, 16, 64, 65, 100] {
        // WHEN it is read page by page
        let (mut all, mut cursor) = (Vec::new(), None::<Cursor>);
        loop {
            let page = ranking.page(&key, limit, cursor.as_ref()).await.expect("a page");
            assert_eq!(page.count, 65);
            assert!(page.entries.len() <= limit);
            all.extend(page.entries);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        // THEN nothing is missing, doubled or out of order
        assert_eq!(all, expected, "pages of {limit}");
    }
}

#[tokio::test]
async fn a_cursor_holds_though_its_member_moved_up() {
    let mut sandbox = Sandbox::new();
    // GIVEN a page that ended at a member
    let key = sandbox.keys.users();
    let members = [(5, "x"), (3, "a"), (3, "b"), (3, "c"), (1, "z")];
    sandbox.sync().zadd_multiple::<_, _, _, ()>(&key, &members).expect("adds");
    let ranking = Ranking::new(sandbox.connection());
    let first = ranking.page(&key, 3, None).await.expect("a page");
    assert_eq!(first.entries.last(), Some(&("b".to_owned(), 3)));
    // WHEN that member is seen again
    sandbox.sync().zincr::<_, _, _, ()>(&key, "b", 4).expect("increments");
    // THEN the next page goes on behind its old place
    let next = ranking.page(&key, 3, first.next.as_ref()).await.expect("a page");
    assert_eq!(next.entries, [("c".to_owned(), 3), ("z".to_owned(), 1)]);
    assert_eq!(next.next, None);
}

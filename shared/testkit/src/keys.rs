//! Vault keys, computed here on their own so that the vault's arithmetic is checked, not repeated.

use uuid::Uuid;

/// Key of a hub: the business key as text.
pub fn hub(business_key: &str) -> Uuid {
    Uuid::new_v3(&Uuid::NAMESPACE_X500, business_key.as_bytes())
}

/// Key of a link: both hub keys joined.
pub fn link(first: Uuid, second: Uuid) -> Uuid {
    hub(&format!("{}_{}", first.hyphenated(), second.hyphenated()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_contract() {
        let order = hub("7608298");
        let user = hub("d3275d9d9530440ea2b0be23");
        let category = hub("Супы");
        let product = hub("97a91f3df3b44224bb8d67a4");
        assert_eq!(order.to_string(), "2a86e8a3-faae-37c2-9cb6-70af837dd42f");
        assert_eq!(user.to_string(), "25f98706-7d86-3388-bfba-ea8376a8bbe1");
        assert_eq!(category.to_string(), "9b6bbc10-93eb-34e4-947d-97fe9f716803");
        assert_eq!(link(order, user).to_string(), "85ee8d37-64f1-323c-aaca-9fabc2aae696");
        assert_eq!(link(order, product).to_string(), "ada3df49-5867-3734-98eb-2d21543c0a8d");
        assert_eq!(link(product, category).to_string(), "f57aaacd-d153-3a27-925b-2dd53cb51d4b");
    }
}

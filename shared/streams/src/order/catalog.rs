//! Invented users and restaurants for an empty Redis.
//!
//! They are the same on every machine and in every run: two instances that fill at once write the
//! same keys, and a seed of `/push` means the same events everywhere.

use fake::Fake;
use fake::faker::name::raw::{LastName, Name};
use fake::locales::Data;
use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use strata_events::{MenuItem, Money, Restaurant, User};

/// Users that are invented.
const USERS: usize = 100;

/// Restaurants that are invented.
const RESTAURANTS: usize = 10;

/// When the invented data were changed last.
const UPDATED: &str = "2025-02-01 00:00:00";

/// Dishes by category.
const DISHES: &[(&str, &[&str])] = &[
    (
        "Закуски",
        &["Винегрет", "Холодец", "Форшмак", "Брускетта", "Сырная тарелка", "Оливье", "Хумус", "Баклажаны"],
    ),
    ("Супы", &["Борщ", "Солянка", "Уха", "Окрошка", "Харчо", "Рассольник", "Щи", "Грибной суп"]),
    (
        "Основные блюда",
        &["Пельмени", "Бефстроганов", "Плов", "Голубцы", "Шашлык", "Котлеты", "Лазанья", "Гуляш"],
    ),
    (
        "Гарниры",
        &["Картофель", "Рис", "Гречка", "Овощи гриль", "Пюре", "Булгур", "Фасоль", "Тушёная капуста"],
    ),
    ("Напитки", &["Морс", "Квас", "Компот", "Сбитень", "Лимонад", "Чай", "Кофе", "Кисель"]),
];

/// What tells two dishes of one kind apart.
const MANNERS: &[&str] = &["по-домашнему", "от шефа", "по-деревенски", "дня", "с изюминкой"];

/// Names for `fake`, which has no Russian ones: surnames without gender, so that every pair fits.
#[derive(Clone, Copy)]
struct Russian;

impl Data for Russian {
    const NAME_FIRST_NAME: &'static [&'static str] = &[
        "Александр",
        "Алексей",
        "Анна",
        "Борис",
        "Валентина",
        "Вера",
        "Виктор",
        "Галина",
        "Глеб",
        "Дарья",
        "Денис",
        "Ева",
        "Елена",
        "Зоя",
        "Иван",
        "Илья",
        "Инна",
        "Кирилл",
        "Ксения",
        "Лев",
        "Лидия",
        "Максим",
        "Марина",
        "Никита",
        "Нина",
        "Олег",
        "Ольга",
        "Павел",
        "Раиса",
        "Роман",
        "Софья",
        "Тарас",
        "Ульяна",
        "Фёдор",
        "Юлия",
        "Яна",
    ];
    const NAME_LAST_NAME: &'static [&'static str] = &[
        "Бондаренко",
        "Вакуленко",
        "Гончаренко",
        "Гринько",
        "Давыденко",
        "Долгих",
        "Живаго",
        "Зайченко",
        "Ильченко",
        "Коваленко",
        "Костенко",
        "Кравченко",
        "Левченко",
        "Лысенко",
        "Мазур",
        "Макаренко",
        "Матвиенко",
        "Назаренко",
        "Нестеренко",
        "Осипенко",
        "Петренко",
        "Приходько",
        "Родченко",
        "Рыбак",
        "Савченко",
        "Седых",
        "Симоненко",
        "Тарасенко",
        "Тимошенко",
        "Ткач",
        "Федоренко",
        "Франко",
        "Хоменко",
        "Черных",
        "Шевченко",
        "Юрченко",
    ];
}

/// The invented users.
pub fn users() -> Vec<User> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    (0..USERS)
        .map(|number| User {
            id: hex_id(&mut rng),
            name: Name(Russian).fake_with_rng(&mut rng),
            login: format!(
                "{}{number}",
                fake::faker::internet::en::Username().fake_with_rng::<String, _>(&mut rng)
            ),
            update_ts_utc: UPDATED.to_owned(),
        })
        .collect()
}

/// The invented restaurants, each with a menu.
pub fn restaurants() -> Vec<Restaurant> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    (0..RESTAURANTS)
        .map(|_| {
            let owners: [&str; 2] = std::array::from_fn(|_| LastName(Russian).fake_with_rng(&mut rng));
            Restaurant {
                id: hex_id(&mut rng),
                name: format!("ООО «{} и {}»", owners[0], owners[1]),
                menu: menu(&mut rng),
                update_ts_utc: UPDATED.to_owned(),
            }
        })
        .collect()
}

/// Five to fifteen different dishes.
fn menu(rng: &mut ChaCha8Rng) -> Vec<MenuItem> {
    let mut dishes: Vec<(&str, &str)> =
        DISHES.iter().flat_map(|(category, names)| names.iter().map(|name| (*category, *name))).collect();
    dishes.shuffle(rng);
    dishes.truncate(rng.random_range(5..=15));
    dishes
        .into_iter()
        .map(|(category, dish)| MenuItem {
            id: hex_id(rng),
            name: format!("{dish} {}", MANNERS.choose(rng).copied().unwrap_or_default()),
            price: Money::from(rng.random_range(50..1000_i64)),
            category: category.to_owned(),
        })
        .collect()
}

/// 24 hexadecimal characters.
fn hex_id(rng: &mut ChaCha8Rng) -> String {
    format!("{:024x}", rng.random::<u128>() >> 32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use strata_events::Contract;

    use super::*;

    #[test]
    fn invented_reference_data_pass_the_contract() {
        let (users, restaurants) = (users(), restaurants());
        assert_eq!((users.len(), restaurants.len()), (USERS, RESTAURANTS));
        let mut ids = HashSet::new();
        for user in &users {
            User::decode(&serde_json::to_vec(user).unwrap()).unwrap();
            assert!(ids.insert(user.id.clone()));
        }
        for restaurant in &restaurants {
            Restaurant::decode(&serde_json::to_vec(restaurant).unwrap()).unwrap();
            assert!(ids.insert(restaurant.id.clone()));
            assert!((5..=15).contains(&restaurant.menu.len()));
            assert!(restaurant.menu.iter().all(|dish| ids.insert(dish.id.clone())));
        }
    }

    #[test]
    fn invented_reference_data_are_the_same_every_time() {
        assert_eq!(users(), users());
        assert_eq!(restaurants(), restaurants());
        assert_eq!(users()[0].id.len(), 24);
    }
}

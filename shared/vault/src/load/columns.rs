//! Values of one column, bound as one array.

use sqlx::encode::Encode;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgHasArrayType, Postgres};
use sqlx::{Arguments as _, Type};

use crate::Value;
use crate::model::{Column, ColumnType};

/// The arrays that a statement is given, one a column.
#[derive(Default)]
pub(super) struct Columns(PgArguments);

impl Columns {
    /// Binds what every row has.
    pub(super) fn bind<T>(&mut self, values: Vec<T>) -> Result<(), sqlx::Error>
    where
        T: for<'q> Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType,
    {
        self.0.add(values).map_err(sqlx::Error::Encode)
    }

    /// Binds values of a column.
    ///
    /// **Errors**: a value is of another type than the column.
    pub(super) fn bind_values<'v>(
        &mut self,
        column: &Column,
        values: impl Iterator<Item = Value<'v>>,
    ) -> Result<(), sqlx::Error> {
        let bound = match column.kind {
            ColumnType::Uuid => self.pick(values, |value| match value {
                Value::Uuid(key) => Some(key),
                _ => None,
            }),
            ColumnType::Text => self.pick(values, |value| match value {
                Value::Text(text) => Some(text),
                _ => None,
            }),
            ColumnType::TextArray => self.pick(values, |value| match value {
                Value::Texts(texts) => Some(array_literal(texts)),
                _ => None,
            }),
            ColumnType::BigInt => self.pick(values, |value| match value {
                Value::BigInt(number) => Some(number),
                _ => None,
            }),
            ColumnType::Numeric => self.pick(values, |value| match value {
                Value::Numeric(amount) => Some(amount),
                _ => None,
            }),
            ColumnType::Timestamp => self.pick(values, |value| match value {
                Value::Timestamp(time) => Some(time),
                _ => None,
            }),
        };
        bound.map_err(|e| sqlx::Error::Encode(format!("column {}: {e}", column.name).into()))
    }

    /// Binds what `of` takes out of the values.
    fn pick<'v, T>(
        &mut self,
        values: impl Iterator<Item = Value<'v>>,
        of: impl Fn(Value<'v>) -> Option<T>,
    ) -> Result<(), BoxDynError>
    where
        T: for<'q> Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType,
    {
        let typed = |value: Value<'v>| match value {
            Value::Null => Ok(None),
            value => of(value).map(Some).ok_or_else(|| format!("{value:?} is of another type")),
        };
        self.0.add(values.map(typed).collect::<Result<Vec<Option<T>>, String>>()?)
    }

    /// All of them.
    pub(super) fn done(self) -> PgArguments {
        self.0
    }
}

/// A list as the text of a Postgres array; an array of arrays cannot be bound, they may differ in length.
///
/// **Source**: PostgreSQL manual, 8.15.6 Array Input and Output Syntax.
fn array_literal(items: &[String]) -> String {
    let mut text = String::from("{");
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push('"');
        for c in item.chars() {
            if matches!(c, '"' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push('"');
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_form_become_elements_of_an_array() {
        let cases: [(&[&str], &str); 4] = [
            (&[], "{}"),
            (&["Amoma", "NULL"], r#"{"Amoma","NULL"}"#),
            (&["a,b", "{c}", ""], r#"{"a,b","{c}",""}"#),
            (&[r#"the "best" \ rest"#], r#"{"the \"best\" \\ rest"}"#),
        ];
        for (names, literal) in cases {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(array_literal(&names), literal);
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused_by_the_name_of_its_column() {
        let column = Column::new("price", ColumnType::BigInt);
        let mut columns = Columns::default();
        assert!(columns.bind_values(&column, [Value::BigInt(1), Value::Null].into_iter()).is_ok());
        let refused = columns.bind_values(&column, [Value::Text("1")].into_iter()).expect_err("a text");
        assert!(refused.to_string().contains("column price: Text(\"1\")"), "{refused}");
    }
}

//! What an error of Postgres means for an operator, by its SQLSTATE.
//!
//! **Source**: PostgreSQL, Appendix A, error codes.

/// What waiting does not repair, as a predicate of Postgres; none where it may.
pub fn refusal(code: &str) -> Option<&'static str> {
    Some(match code {
        "3D000" => {
            "has no such database: see POSTGRES_DB; create it, then run the migrations (strata migrate)"
        }
        // Tables, columns, schemas, functions.
        "42P01" | "42703" | "3F000" | "42883" => {
            "lacks a table or column of this version: run the migrations (strata migrate)"
        }
        "42501" => "denies our user a right: grant it to POSTGRES_USER; the log says on what",
        "25006" => "takes no writes, as a standby does: see POSTGRES_HOST",
        "53100" => "has no space left on its disk: free some",
        "53200" => "has no memory left: see its log",
        "53300" => "takes no more connections: raise its max_connections or end other sessions",
        "58030" | "58P01" | "XX001" | "XX002" => "cannot read its own files: see its log",
        code if code.starts_with("42") => {
            "does not take a statement of ours: the log says why; are its tables of this version (strata migrate)?"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_has_to_do_is_told_and_what_waiting_repairs_is_not() {
        for (code, told) in [
            ("3D000", "POSTGRES_DB"),
            ("42P01", "strata migrate"),
            ("42703", "strata migrate"),
            ("3F000", "strata migrate"),
            ("42P10", "strata migrate"),
            ("42501", "grant"),
            ("25006", "standby"),
            ("53100", "disk"),
            ("53300", "max_connections"),
        ] {
            assert!(refusal(code).is_some_and(|words| words.contains(told)), "{code}");
        }
        // Shutting down, restarting, cut off, a conflict, a lock, a timeout, bad data.
        for code in ["57P01", "57P02", "57P03", "08006", "40001", "40P01", "55P03", "57014", "22001", ""] {
            assert_eq!(refusal(code), None, "{code}");
        }
    }
}

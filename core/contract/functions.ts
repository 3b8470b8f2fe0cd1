/**
 * The functions that a definition's SQL may call. The result of each depends on its arguments alone (invariant 3).
 * Aggregates, windows, sub-queries, and functions of time, session, files or random numbers are left out.
 */
export const ALLOWED_FUNCTIONS: ReadonlySet<string> = new Set([
  // arithmetic on integers; the other operators are functions in the syntax tree, too
  ..."+ - * // % & | << >> ~~ !~~ ~~* !~~* || abs sign greatest least xor bit_count".split(" "),
  // text
  ...(
    "lower upper trim ltrim rtrim length strlen substring substr left right replace concat " +
    "contains starts_with ends_with prefix suffix split_part lpad rpad reverse"
  ).split(" "),
  ..."regexp_matches regexp_full_match regexp_extract regexp_replace like_escape not_like_escape".split(" "),
  // lists of values; length and contains take them too
  ..."len list_contains list_has list_position".split(" "),
  // choice
  ..."coalesce nullif if ifnull".split(" "),
  // calendar parts of an instant, in UTC
  ..."make_timestamp_ms epoch_ms date_part date_trunc year month day hour minute second".split(" "),
  ..."dayofweek isodow week quarter".split(" "),
]);

/** The syntax that a definition may use, by DuckDB's expression classes. */
export const ALLOWED_EXPRESSIONS: ReadonlySet<string> = new Set([
  "COLUMN_REF",
  "CONSTANT",
  "FUNCTION",
  "COMPARISON",
  "CONJUNCTION",
  "OPERATOR",
  "CASE",
  "CAST",
  "BETWEEN",
]);

/** DuckDB types that an integer measure may read without loss. */
export const INTEGER_TYPES: ReadonlySet<string> = new Set([
  "TINYINT",
  "SMALLINT",
  "INTEGER",
  "BIGINT",
  "UTINYINT",
  "USMALLINT",
  "UINTEGER",
]);

/** DuckDB types that a dimension may have: JSON keeps their type. */
export const DIMENSION_TYPES: ReadonlySet<string> = new Set([...INTEGER_TYPES, "VARCHAR", "BOOLEAN"]);

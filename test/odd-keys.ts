/** Keys as people have them: empty, in other scripts, with what has a meaning in URLs, SQL and patterns. */
export const ODD_KEYS: readonly string[] = [
  ...["", "007", "7", "null", "a/b", "a%2Fb", "it's", 'quay "7"', "100%", "Zürich", "東京", "🦔", "a b", "k\u0001"],
];

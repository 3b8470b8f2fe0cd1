const KEYWORDS = new Set(["and", "or", "unless", "bool", "offset"]);

/**
 * The metrics that a PromQL expression names, and the labels that it selects, groups and matches by. Not a parser: it knows as much of the
 * language as our rules and dashboards use.
 */
export function metricsOf(expression: string): { readonly metrics: string[]; readonly labels: string[] } {
  const labels: string[] = [];
  let rest = expression.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""');
  const take = (pattern: RegExp, labelsIn: (text: string) => string[]) => {
    rest = rest.replaceAll(pattern, (_, text: string) => {
      labels.push(...labelsIn(text));
      return " ";
    });
  };
  take(/\{([^}]*)\}/g, (text) => [...text.matchAll(/([a-z_]+)\s*(?:=~|!~|!=|=)/g)].map(([, label = ""]) => label));
  take(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/g, (text) =>
    text.split(",").map((label) => label.trim()),
  );
  rest = rest.replaceAll(/\[[^\]]*\]/g, " ");
  const names = [...rest.matchAll(/\b([a-zA-Z_:][\w:]*)\b(?!\s*\()/g)].map(([, name = ""]) => name);
  // An aggregation whose grouping stood before its brackets is a name before "(" by now, as are functions.
  const metrics = names.filter((name) => !KEYWORDS.has(name));
  return { metrics: [...new Set(metrics)], labels: labels.filter((label) => label !== "") };
}

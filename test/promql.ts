const KEYWORDS = new Set(["and", "or", "unless", "bool", "offset"]);

/**
 * The metrics that a PromQL expression names, and the labels that it selects, groups and matches by. Not a parser: it
 * knows as much of the language as our rules and dashboards use.
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

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The samples of a scrape, in Prometheus' text format. */
export function samplesOf(scrape: string): Sample[] {
  return scrape.split("\n").flatMap((line) => {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (match === null) return [];
    const [, name = "", labels = "", value] = match;
    return [{ name, labels: labelsOf(labels), value: Number(value) }];
  });
}

function labelsOf(text: string): Record<string, string> {
  const pairs = [...text.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)];
  return Object.fromEntries(pairs.map(([, label = "", value = ""]) => [label, value.replaceAll(/\\(.)/g, "$1")]));
}

const RULE = /^(max|min) by \(([^)]*)\) \(([a-zA-Z_:][\w:]*)(?:\{([^}]*)\})?\) (==|>|<) (\S+)$/;

/**
 * The label sets for which a rule holds now: of rules of the form `max by (labels) (metric{label!="x"}) == 1`, which
 * need no history. Throws for any other.
 */
export function firing(expression: string, samples: readonly Sample[]): Record<string, string>[] {
  const match = RULE.exec(expression.trim());
  if (match === null) throw new Error(`not a rule that can be told from one scrape: ${expression}`);
  const [, aggregate, by = "", metric, selector = "", comparison, limit] = match;
  const matchers = [...selector.matchAll(/([a-z_]+)(!=|=)"([^"]*)"/g)];
  const groups = new Map<string, number>();
  for (const { name, labels, value } of samples) {
    const isMeant = matchers.every(
      ([, label = "", how, wanted]) => ((labels[label] ?? "") === wanted) === (how === "="),
    );
    if (name !== metric || !isMeant) continue;
    const group = by.split(",").map((label) => [label.trim(), labels[label.trim()] ?? ""]);
    const key = JSON.stringify(Object.fromEntries(group));
    const known = groups.get(key);
    groups.set(
      key,
      known === undefined ? value : aggregate === "max" ? Math.max(known, value) : Math.min(known, value),
    );
  }
  const holds = {
    "==": (a: number, b: number) => a === b,
    ">": (a: number, b: number) => a > b,
    "<": (a: number, b: number) => a < b,
  };
  const compare = holds[comparison as keyof typeof holds];
  return [...groups]
    .filter(([, value]) => compare(value, Number(limit)))
    .map(([key]) => JSON.parse(key) as Record<string, string>);
}

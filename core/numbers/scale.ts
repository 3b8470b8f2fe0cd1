/**
 * Returns the decimal places of an SQL expression's integers. A `decimal` field is a column of integers of 10^-scale
 * units, and so is the result of arithmetic on it: a sum keeps the places, a product adds them. Returns null where the
 * places are not certain: for other functions, division, casts, and sums of different scales. A literal has the unit of
 * the value that it is added to.
 */
export function scaleOfSql(text: string, columnScale: (name: string) => number | undefined): number | null {
  const tokens = tokensOf(text);
  if (tokens === null) return null;
  const parser = new Parser(tokens, columnScale);
  const scale = parser.sum();
  return parser.isDone && typeof scale === "number" ? scale : null;
}

/** "any": a literal, which takes the scale of the other operand. Null: not certain. */
type Scale = number | "any" | null;

const TOKEN = /\s*(?:\d+(?![\w.])|"(?:[^"]|"")+"|[A-Za-z_]\w*|'(?:[^']|'')*'|\/\/|<=|>=|<>|!=|[-+*/%(),.<>=|&~])/y;

/** Returns the tokens of a text. Null if it has any other character, or a comment. */
function tokensOf(text: string): string[] | null {
  if (/--|\/\*/.test(text)) return null;
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  let at = 0;
  for (let match = TOKEN.exec(text); match !== null; match = TOKEN.exec(text)) {
    tokens.push(match[0].trim());
    at = TOKEN.lastIndex;
  }
  return text.slice(at).trim() === "" ? tokens : null;
}

/** Functions whose result has the scale of all their arguments. */
const OF_ALL: ReadonlySet<string> = new Set(["abs", "coalesce", "greatest", "ifnull", "least"]);

/** Returns the common scale. Null when the scales differ, or when one of them is not certain. */
function same(scales: readonly Scale[]): Scale {
  if (scales.includes(null)) return null;
  const known = new Set(scales.filter((scale) => scale !== "any"));
  const [first, ...others] = known;
  return others.length > 0 ? null : (first ?? "any");
}

function product(a: Scale, b: Scale): Scale {
  if (a === null || b === null) return null;
  return a === "any" && b === "any" ? "any" : (a === "any" ? 0 : a) + (b === "any" ? 0 : b);
}

/**
 * Recursive descent over sums, products, signs, columns, CASE and a few functions. Any other syntax makes the scale
 * null.
 */
class Parser {
  readonly #tokens: readonly string[];
  readonly #columnScale: (name: string) => number | undefined;
  #at = 0;

  constructor(tokens: readonly string[], columnScale: (name: string) => number | undefined) {
    this.#tokens = tokens;
    this.#columnScale = columnScale;
  }

  get isDone(): boolean {
    return this.#at === this.#tokens.length;
  }

  sum(): Scale {
    const terms = [this.#product()];
    while (this.#take("+") || this.#take("-")) terms.push(this.#product());
    return same(terms);
  }

  #product(): Scale {
    let scale = this.#signed();
    while (this.#take("*")) scale = product(scale, this.#signed());
    return scale;
  }

  #signed(): Scale {
    return this.#take("-") || this.#take("+") ? this.#signed() : this.#primary();
  }

  #primary(): Scale {
    if (this.#take("(")) {
      const scale = this.sum();
      return this.#take(")") ? scale : null;
    }
    const token = this.#next();
    const word = token?.toLowerCase();
    if (token === undefined) return null;
    if (/^\d/.test(token) || word === "null") return "any";
    if (word === "case") return this.#case();
    if (!/^["A-Za-z_]/.test(token)) return null;
    if (this.#take("(")) return this.#call(word ?? "");
    return (
      this.#columnScale(this.#take(".") ? `${nameOf(token)}.${nameOf(this.#next() ?? "")}` : nameOf(token)) ?? null
    );
  }

  #call(name: string): Scale {
    if (name === "if") this.#skipTo(",");
    const scales = [this.sum()];
    while (this.#take(",")) scales.push(this.sum());
    if (!this.#take(")")) return null;
    if (name === "nullif") return scales[0] ?? null;
    return name === "if" || OF_ALL.has(name) ? same(scales) : null;
  }

  #case(): Scale {
    const scales: Scale[] = [];
    while (this.#skipTo("then")) {
      scales.push(this.sum());
      if (this.#take("else")) scales.push(this.sum());
      if (this.#take("end")) return same(scales);
      if (this.#peek() !== "when") return null;
    }
    return null;
  }

  /** Skips conditions up to `word`, which is skipped too. Ignores `word` inside parentheses and inner CASEs. */
  #skipTo(word: string): boolean {
    let depth = 0;
    for (let token = this.#next(); token !== undefined; token = this.#next()) {
      const lower = token.toLowerCase();
      if (depth === 0 && lower === word) return true;
      if (lower === "(" || lower === "case") depth += 1;
      if (lower === ")" || lower === "end") depth -= 1;
      if (depth < 0) return false;
    }
    return false;
  }

  #peek(): string | undefined {
    return this.#tokens[this.#at]?.toLowerCase();
  }

  #next(): string | undefined {
    const token = this.#tokens[this.#at];
    if (token !== undefined) this.#at += 1;
    return token;
  }

  #take(word: string): boolean {
    const isNext = this.#peek() === word;
    if (isNext) this.#at += 1;
    return isNext;
  }
}

function nameOf(token: string): string {
  return token.startsWith('"') ? token.slice(1, -1).replaceAll('""', '"') : token;
}

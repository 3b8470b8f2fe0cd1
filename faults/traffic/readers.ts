import { isDeepStrictEqual } from "node:util";
import type { Answer, Asked } from "../model/answer.ts";
import { type Judge, type Mismatch, positionsOf, type Question, reaches, type ViewQuestion } from "../model/judge.ts";
import type { Oracle } from "../model/oracle.ts";
import { type Selection, type TableQuestion, tableAddress } from "../model/table-question.ts";
import type { Positions } from "../model/view-fold.ts";
import { PLACES } from "../model/view-models.ts";
import { ticks } from "../schemas/ticks.ts";
import { Chance } from "./chance.ts";
import { thingOf } from "./events.ts";
import type { Source } from "./source.ts";

export interface ReadersOptions {
  readonly urls: readonly [string, ...string[]];
  readonly oracle: Oracle;
  readonly judge: Judge;
  readonly source: Source;
  readonly topic: string;
  readonly seed: number;
  readonly count: number;
  /** What happens just now, for a mismatch's report. */
  readonly during: () => string;
  readonly say: (line: string) => void;
  /** Called for each answer about the newest position. */
  readonly onAnswer: (view: string, answer: Answer) => void;
}

/** What the readers met. */
export interface ReadCounts {
  /** Answers that were compared with the oracle. */
  checked: number;
  /** Of these, those that said that they were not complete, by what was missing. */
  readonly incomplete: Map<string, number>;
  /** Of these, those about an earlier position, and those that had to include a record. */
  at: number;
  min: number;
  /** Of these, those about tables, by the kind of the question. */
  readonly tables: Map<string, number>;
  /** Requests without an answer, by problem code or kind of error. */
  readonly refused: Map<string, number>;
}

/** What a table answers; of one key it has `row` instead of `rows`. */
interface TableBody extends Answer {
  readonly row?: Answer["rows"][number];
  readonly next?: string;
}

const PAUSE_MS = 30;
const MINUTE_MS = 60_000;
const REQUEST_LIMIT_MS = 40_000;
/** Problem codes that a server may return while something is broken. They carry no number. */
const HONEST = new Set(["NOT_READY", "NOT_REACHED", "TOO_SLOW", "POSITION_GONE", "TOO_MANY_REQUESTS"]);
const SAID_MISMATCHES = 3;
const KEPT_TOKENS = 200;
/** Of the questions, and how many of them, that are asked once more at the end. */
const REPEATED = { share: 0.1, kept: 300 };

/** Readers that ask all views in all ways, and have each answer judged. */
export class Readers {
  readonly counts: ReadCounts = {
    checked: 0,
    incomplete: new Map(),
    at: 0,
    min: 0,
    tables: new Map(),
    refused: new Map(),
  };
  readonly mismatches: Mismatch[] = [];
  readonly #options: ReadersOptions;
  readonly #chance: Chance;
  readonly #tokens: {
    readonly view: string;
    readonly token: string;
    readonly applied: Answer["position"]["applied"];
  }[] = [];
  readonly #repeated: { readonly question: Question; readonly url: string }[] = [];
  readonly #tolerated = new Set<string>();
  #closed = false;
  readonly #loops: Promise<void>[];

  constructor(options: ReadersOptions) {
    this.#options = options;
    this.#chance = new Chance(options.seed, 3);
    this.#loops = Array.from({ length: options.count }, () => this.#loop());
  }

  /** Allows a problem code from now on, for instance while published state is damaged on purpose. */
  tolerate(code: string): void {
    this.#tolerated.add(code);
  }

  untolerate(code: string): void {
    this.#tolerated.delete(code);
  }

  /** Asks once, and has the answer judged; null when there was none. For scenarios that want to know at once. */
  async ask(question: Question, url = this.#chance.pick(this.#options.urls)): Promise<Answer | null> {
    const { view, at, min } = question;
    const { path, parameters } = "rows" in question ? tableAddress(question) : viewAddress(question);
    const positions = {
      ...(at === undefined ? {} : { at: at.token }),
      ...(min === undefined ? {} : { min: `${this.#options.topic}:${min.partition}:${min.offset}`, wait: "2s" }),
    };
    const asked = `${url}${path}?${new URLSearchParams([...parameters, ...Object.entries(positions)])}`;
    const answer = "rows" in question ? await this.#table(question, asked, url) : await this.#fetch<Answer>(asked);
    if (answer === null) return null;
    if (at === undefined) this.#options.onAnswer(view, answer);
    this.#keep(view, answer);
    try {
      const mismatch = await this.#options.judge.judge(question, asked, answer, this.#options.during());
      if (mismatch !== null) this.#mismatch(mismatch);
      this.counts.checked += 1;
      if (at !== undefined) this.counts.at += 1;
      if (min !== undefined) this.counts.min += 1;
      if ("rows" in question) count(this.counts.tables, question.rows.kind);
      if (!answer.complete) count(this.counts.incomplete, answer.missing?.code ?? "not said");
    } catch (error) {
      // It claims a position that the log does not have.
      this.#fault(asked, `cannot be compared: ${(error as Error).message}`);
    }
    return answer;
  }

  /**
   * Asks questions of before once more, each of the process that answered it and may hold that answer, of a log that
   * has been at rest since `ends`. Answers which of them stand below that.
   */
  async again(ends: Positions): Promise<string[]> {
    const behind: string[] = [];
    for (const { question, url } of [...this.#repeated]) {
      const answer = await this.ask(question, url);
      if (answer === null || reaches(positionsOf(answer.position.applied), ends)) continue;
      behind.push(`${question.view} of ${url}: ${JSON.stringify(answer.position)}`);
    }
    return behind;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#loops);
  }

  async #loop(): Promise<void> {
    while (!this.#closed) {
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      const question = this.#question();
      const url = this.#chance.pick(this.#options.urls);
      const answer = await this.ask(question, url);
      if (answer?.complete !== true || question.at !== undefined || question.min !== undefined) continue;
      if (this.#chance.happens(REPEATED.share)) this.#repeated.push({ question, url });
      if (this.#repeated.length > REPEATED.kept) this.#repeated.shift();
    }
  }

  #question(): Question {
    const { oracle, source } = this.#options;
    const chance = this.#chance;
    const kind = chance.below(100);
    const token = kind < 3 ? this.#tokens[chance.below(this.#tokens.length)] : undefined;
    const view = token?.view ?? chance.pick(oracle.views as [string, ...string[]]);
    const written = kind >= 97 ? source.lastAcknowledged : null;
    // A request may name only partitions that the stream's contract knows.
    const min = written !== null && written.partition < ticks.partitions ? written : null;
    const asked = { view, ...(token === undefined ? {} : { at: token }), ...(min === null ? {} : { min }) };
    return oracle.isTable(view) ? { ...asked, rows: this.#selection(view) } : this.#viewQuestion(asked);
  }

  #viewQuestion(asked: Asked): ViewQuestion {
    const { oracle, source } = this.#options;
    const chance = this.#chance;
    const [own, ...others] = oracle.fold(asked.view).shapes;
    if (own === undefined) throw new Error(`${asked.view} has no shape`);
    const shape = chance.happens(0.8) ? own : chance.pick([own, ...others]);
    const beginMs = chance.happens(0.7)
      ? source.nowMs - 8 * MINUTE_MS
      : source.beginMs + chance.below(source.nowMs - source.beginMs);
    const fromMs = Math.floor(beginMs / shape.everyMs) * shape.everyMs;
    const toMs = fromMs + Math.ceil((10 * MINUTE_MS) / shape.everyMs) * shape.everyMs;
    return { ...asked, shape, fromMs, toMs };
  }

  #selection(table: string): Selection {
    const chance = this.#chance;
    const { key: parts, numbers, filters } = this.#options.oracle.table(table);
    const key = () => parts.map((name) => (name === "place" ? chance.pick(PLACES) : thingOf(chance)));
    // An address cannot end with an empty part.
    const one = key();
    const single: Selection = one.at(-1) === "" ? { kind: "keys", keys: [one] } : { kind: "key", key: one };
    const [column, values] = chance.pick(Object.entries(filters) as [[string, readonly [string, ...string[]]]]);
    return chance.pick<Selection>([
      single,
      { kind: "keys", keys: Array.from({ length: 1 + chance.below(100) }, key) },
      { kind: "prefix", prefix: thingOf(chance).slice(0, 2) },
      { kind: "where", column, value: chance.pick(values) },
      { kind: "pages", limit: 50 + chance.below(200) },
      { kind: "top", column: chance.pick(numbers), limit: 1 + chance.below(20) },
    ]);
  }

  /** The rows of a table: of one key, also when there is none, of one answer, or of all its pages. */
  async #table(question: TableQuestion, asked: string, url: string): Promise<Answer | null> {
    const { view, rows } = question;
    const body = await this.#fetch<TableBody>(asked, (asOf) => this.#absent(question, asOf, url));
    if (body === null) return null;
    const { row, next, ...answer } = body;
    if (row !== undefined) return { ...answer, rows: [row], truncated: false };
    if (rows.kind !== "pages" || next === undefined) return answer;
    const rest = await this.#pages(`${url}/tables/${view}?limit=${rows.limit}`, next, answer.position.applied);
    return rest === null ? null : { ...answer, rows: [...answer.rows, ...rest], truncated: false };
  }

  /** A refusal says that a key has no row, but not at which positions: the same as an answer without rows. */
  #absent({ view, rows }: TableQuestion, asOf: string, url: string): Promise<TableBody | null> {
    const keys = rows.kind === "key" ? [rows.key] : [];
    const { path, parameters } = tableAddress({ view, rows: { kind: "keys", keys } });
    return this.#fetch(`${url}${path}?${new URLSearchParams([...parameters, ["at", asOf]])}`);
  }

  /** The rows of the pages from `first` on, which must all stand where the one before them did. */
  async #pages(address: string, first: string, applied: Answer["position"]["applied"]) {
    const rows: Answer["rows"][number][] = [];
    for (let after: string | undefined = first; after !== undefined; ) {
      const asked: string = `${address}&after=${encodeURIComponent(after)}`;
      const body: TableBody | null = await this.#fetch<TableBody>(asked);
      if (body === null) return null;
      if (!isDeepStrictEqual(body.position.applied, applied))
        this.#fault(asked, `the first page stands at ${JSON.stringify(applied)}, not this one`);
      rows.push(...body.rows);
      after = body.next;
    }
    return rows;
  }

  /** The answer, or that of `absent` to a key that has no row where the refusal stands; null without one. */
  async #fetch<Body>(url: string, absent?: (asOf: string) => Promise<Body | null>): Promise<Body | null> {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(REQUEST_LIMIT_MS) });
      if (response.ok) return (await response.json()) as Body;
      const { code = `HTTP ${response.status}`, detail } = (await response.json()) as {
        code?: string;
        detail?: string;
      };
      const asOf = response.headers.get("tideline-as-of");
      if (code === "KEY_UNKNOWN" && absent !== undefined && asOf !== null) return await absent(asOf);
      count(this.counts.refused, code);
      if (!HONEST.has(code) && !this.#tolerated.has(code)) this.#fault(url, `${code}: ${detail}`);
    } catch (error) {
      const { name, cause } = error as Error & { cause?: { code?: string } };
      count(this.counts.refused, cause?.code ?? name);
    }
    return null;
  }

  #mismatch(mismatch: Mismatch): void {
    this.mismatches.push(mismatch);
    if (this.mismatches.length <= SAID_MISMATCHES) this.#options.say(`MISMATCH ${JSON.stringify(mismatch)}`);
  }

  /** What nothing of what was broken explains counts like a wrong answer. */
  #fault(url: string, what: string): void {
    const view = /(?:views|tables)\/([^?/]+)/.exec(url)?.[1] ?? "";
    const nothing = { asOf: "", applied: {}, cut: {}, version: 0, complete: false, lost: 0, double: 0 };
    this.#mismatch({
      ...nothing,
      view,
      url,
      differences: [what],
      during: this.#options.during(),
      atMs: Date.now(),
    });
  }

  #keep(view: string, { asOf, position }: Answer): void {
    this.#tokens.push({ view, token: asOf, applied: position.applied });
    if (this.#tokens.length > KEPT_TOKENS) this.#tokens.shift();
  }
}

function viewAddress({ view, shape, fromMs, toMs }: ViewQuestion): { path: string; parameters: [string, string][] } {
  return {
    path: `/views/${view}`,
    parameters: [
      ["from", String(fromMs)],
      ["to", String(toMs)],
      ["every", `${shape.everyMs / MINUTE_MS}m`],
      ["by", shape.by.join(",")],
      ["limit", "100000"],
    ],
  };
}

function count(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

import { readdir } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { alerts } from "../../core/contract/alerts.ts";
import { checkStream, type Stream } from "../../core/contract/stream.ts";
import { deadLetterTopic, topicName, topicOf } from "../../core/contract/topic-names.ts";
import { checkDelivery, type Delivery } from "../../core/definition/delivery.ts";
import { type Generation, generationOf } from "../../core/definition/generation.ts";
import { checkJoinedShape, type Joined } from "../../core/definition/joined.ts";
import { checkRuleShape, type Rule } from "../../core/definition/rule.ts";
import { checkViewShape, type View } from "../../core/definition/view.ts";
import { TidelineError } from "../../core/errors.ts";
import { type Duck, DuckPool } from "../duckdb/duck.ts";
import { currentProgram } from "../files/program.ts";
import { checkRuleSql } from "./check-rule.ts";
import { checkStreamSql } from "./check-stream.ts";
import { checkViewSql } from "./check-view.ts";
import { checkJoinedSql } from "./joined-columns.ts";

/** A view that has passed every check, with its generation. */
export interface Definition {
  readonly view: View;
  readonly generation: Generation;
  readonly file: string;
  /**
   * True if another release computed it, and this release computes it otherwise. Its newest version is served, and
   * nothing is added to it.
   */
  readonly frozen?: true;
}

/** The folders whose .ts files hold definitions. */
export interface DefinitionFolders {
  /** The installation's namespace, for the names of topics. Absent: none. */
  readonly namespace?: string;
  readonly schemas: readonly string[];
  readonly views: readonly string[];
  /** Absent: none. */
  readonly rules?: readonly string[];
  readonly deliveries?: readonly string[];
}

type Kind = "schemas" | "views" | "rules" | "deliveries";

export interface Definitions {
  readonly views: ReadonlyMap<string, Definition>;
  /**
   * The streams in the schemas' folders and those that views and rules read, by name. If there are rules, the stream of
   * alerts is one of them.
   */
  readonly streams: ReadonlyMap<string, Stream>;
  /** By name. Absent: none. */
  readonly rules?: ReadonlyMap<string, Rule>;
  readonly deliveries?: ReadonlyMap<string, Delivery>;
  /** The joined tables, by name. Absent: none. Their tables are among `views`. */
  readonly joined?: ReadonlyMap<string, Joined>;
}

/** Returns the names of the views that read a stream. */
export function viewsOfStream({ views }: Definitions, stream: string): string[] {
  return [...views.values()].filter(({ view }) => view.stream.name === stream).map(({ view }) => view.name);
}

/**
 * Finds the streams, views, joined tables, rules and deliveries in `folders` (every such export of every .ts file) and
 * checks their names and SQL. A stream that no view reads counts too: it has a topic, and is archived. Throws
 * DEFINITION_INVALID with every problem, its file and field.
 */
export async function loadDefinitions(folders: DefinitionFolders): Promise<Definitions> {
  const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256 });
  const duck = await pool.connect();
  const found = new FoundDefinitions(duck);
  try {
    await addAll(found, folders);
  } finally {
    duck.closeSync();
    pool.close();
  }
  const { views, streams, rules, deliveries, joined } = found;
  const problems = [...found.problems, ...sharedTopics(folders.namespace ?? "", streams.values())];
  if (problems.length > 0)
    throw new TidelineError(
      "DEFINITION_INVALID",
      problems.join("\n"),
      "Correct the definition; nothing has been started.",
    );
  return { views, streams, rules, deliveries, joined };
}

/** Adds the exports of the files in `folders`: streams first, then the definitions that read them. */
async function addAll(found: FoundDefinitions, folders: DefinitionFolders): Promise<void> {
  const load = async (kind: Kind) => {
    const { modules, broken } = await modulesIn(folders[kind] ?? [], kind);
    found.problems.push(...broken);
    return modules;
  };
  for (const { shown, exported } of await load("schemas"))
    for (const stream of exported.filter(isStream)) await found.addStream(stream, shown);
  const ofViews = await load("views");
  for (const module of ofViews) for (const view of module.exported.filter(isView)) await found.addView(view, module);
  for (const module of ofViews) for (const one of module.exported.filter(isJoined)) await found.addJoined(one, module);
  for (const { shown, exported } of await load("rules"))
    for (const rule of exported.filter(isRule)) await found.addRule(rule, shown);
  for (const { shown, exported } of await load("deliveries"))
    for (const delivery of exported.filter(isDelivery)) found.addDelivery(delivery, shown);
  if (found.rules.size + found.deliveries.size > 0) await found.addStream(alerts, "the stream of alerts");
}

/** The file of a definition. */
type Place = Pick<LoadedModule, "file" | "shown">;

/** The definitions found so far, and their problems. Each definition is checked when it is added. */
class FoundDefinitions {
  readonly views = new Map<string, Definition>();
  readonly streams = new Map<string, Stream>();
  readonly rules = new Map<string, Rule>();
  readonly deliveries = new Map<string, Delivery>();
  readonly joined = new Map<string, Joined>();
  readonly problems: string[] = [];
  readonly #duck: Duck;
  /** The file of each rule. */
  readonly #ruleFiles = new Map<string, string>();

  constructor(duck: Duck) {
    this.#duck = duck;
  }

  async addStream(stream: Stream, shown: string): Promise<void> {
    const known = this.streams.get(stream.name);
    if (known === stream) return;
    if (known !== undefined) this.problems.push(`${shown}: stream "${stream.name}" is defined twice`);
    const shape = checkStream(stream);
    const found = shape.length > 0 ? shape : await checkStreamSql(this.#duck, stream);
    this.#add(`${shown}: stream ${stream.name}`, found);
    this.streams.set(stream.name, stream);
  }

  async addView(view: View, { file, shown }: Place): Promise<void> {
    if (!isStream(view.stream)) {
      this.problems.push(`${shown}: view ${view.name}: stream: no stream`);
      return;
    }
    await this.addStream(view.stream, shown);
    const shape = checkViewShape(view);
    const sound = shape.length === 0 && checkStream(view.stream).length === 0;
    this.#add(`${shown}: view ${view.name}`, sound ? await checkViewSql(this.#duck, view) : shape);
    if (!sound) return;
    const other = this.views.get(view.name);
    if (other !== undefined)
      this.problems.push(`${shown}: name "${view.name}" is taken by ${relative(process.cwd(), other.file)}`);
    this.views.set(view.name, { view, generation: generationOf(view), file });
  }

  async addJoined(one: Joined, place: Place): Promise<void> {
    const told = `${place.shown}: joined table ${one.name}`;
    const shape = checkJoinedShape(one);
    if (shape.length > 0) return this.#add(told, shape);
    const before = this.problems.length;
    // A table that only a joined table uses is a table like any other.
    for (const table of new Set(Object.values(one.tables))) {
      const isKnown =
        checkViewShape(table).length === 0 && this.views.get(table.name)?.generation === generationOf(table);
      if (!isKnown) await this.addView(table, place);
    }
    if (this.problems.length > before) return;
    this.#add(told, await checkJoinedSql(this.#duck, one));
    if (this.views.has(one.name) || this.joined.has(one.name)) this.problems.push(`${told}: its name is taken`);
    this.joined.set(one.name, one);
  }

  async addRule(rule: Rule, shown: string): Promise<void> {
    if (!isStream(rule.on)) {
      this.problems.push(`${shown}: rule ${rule.name}: on: no stream`);
      return;
    }
    await this.addStream(rule.on, shown);
    const shape = checkRuleShape(rule);
    const sound = shape.length === 0 && checkStream(rule.on).length === 0;
    this.#add(`${shown}: rule ${rule.name}`, sound ? await checkRuleSql(this.#duck, rule) : shape);
    const other = this.#ruleFiles.get(rule.name);
    if (other !== undefined) this.problems.push(`${shown}: rule "${rule.name}" is defined in ${other} already`);
    this.#ruleFiles.set(rule.name, shown);
    this.rules.set(rule.name, rule);
  }

  addDelivery(delivery: Delivery, shown: string): void {
    this.#add(`${shown}: delivery ${delivery.name}`, checkDelivery(delivery, new Set(this.rules.keys())));
    if (this.deliveries.has(delivery.name))
      this.problems.push(`${shown}: delivery "${delivery.name}" is defined twice`);
    this.deliveries.set(delivery.name, delivery);
  }

  #add(told: string, problems: readonly string[]): void {
    this.problems.push(...problems.map((problem) => `${told}: ${problem}`));
  }
}

/**
 * Returns the problems of streams that would share a topic or dead letters. The archive of a topic can hold records
 * decoded by one contract only.
 */
function sharedTopics(namespace: string, streams: Iterable<Stream>): string[] {
  const all = [...streams];
  const letters = new Map(all.map(({ name }) => [deadLetterTopic(topicName(namespace, name)), name]));
  const readers = new Map<string, string>();
  return all.flatMap((stream) => {
    const topic = topicOf(namespace, stream);
    const reader = readers.get(topic);
    readers.set(topic, stream.name);
    const told = `stream ${stream.name}: topic "${topic}"`;
    if (letters.has(topic)) return [`${told} holds the dead letters of stream "${letters.get(topic)}"`];
    return reader === undefined ? [] : [`${told} is read by stream "${reader}" already: a topic has one stream`];
  });
}

const isStream = (value: unknown): value is Stream => (value as Stream | null)?.kind === "stream";
const isRule = (value: unknown): value is Rule => (value as Rule | null)?.kind === "rule";
const isDelivery = (value: unknown): value is Delivery => (value as Delivery | null)?.kind === "delivery";
const isJoined = (value: unknown): value is Joined => (value as Joined | null)?.kind === "joined";
const isView = (value: unknown): value is View => (value as View | null)?.kind === "view";

interface LoadedModule {
  readonly file: string;
  /** Its path, relative to the working directory of the process. */
  readonly shown: string;
  readonly exported: unknown[];
}

/** Returns the exports of the files in some folders, file by file, and the files that cannot be loaded. */
async function modulesIn(
  folders: readonly string[],
  kind: Kind,
): Promise<{ readonly modules: LoadedModule[]; readonly broken: string[] }> {
  const modules: LoadedModule[] = [];
  const broken: string[] = [];
  for (const folder of folders) {
    const names = await readdir(folder).catch((cause: unknown) => {
      const variable = {
        schemas: "TIDELINE_SCHEMAS",
        views: "TIDELINE_VIEWS",
        rules: "TIDELINE_RULES",
        deliveries: "TIDELINE_DELIVERIES",
      }[kind];
      throw new TidelineError(
        "CONFIG_INVALID",
        `there is no folder of ${kind} at ${folder}`,
        `Set ${variable} to folders that exist.`,
        { cause },
      );
    });
    for (const name of names.filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts")).sort()) {
      const file = resolve(join(folder, name));
      const shown = relative(process.cwd(), file);
      try {
        modules.push({ file, shown, exported: Object.values(await currentProgram().load(file)) });
      } catch (error) {
        broken.push(`${shown}: cannot be loaded: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }
  return { modules, broken };
}

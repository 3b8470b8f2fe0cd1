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
import { DuckPool } from "../duckdb/duck.ts";
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
   * Another release computed it, and this one computes it otherwise: its newest version is answered, and nothing is
   * added to it.
   */
  readonly frozen?: true;
}

/** The folders whose .ts files hold definitions. */
export interface DefinitionFolders {
  /** Of the installation, which tells what its topics are called; none when absent. */
  readonly namespace?: string;
  readonly schemas: readonly string[];
  readonly views: readonly string[];
  /** None when absent. */
  readonly rules?: readonly string[];
  readonly deliveries?: readonly string[];
}

type Kind = "schemas" | "views" | "rules" | "deliveries";

export interface Definitions {
  readonly views: ReadonlyMap<string, Definition>;
  /**
   * The streams of the schemas' folders and those that views and rules read, by name. Where there are rules, the stream
   * of alerts is one of them.
   */
  readonly streams: ReadonlyMap<string, Stream>;
  /** By name; none when absent. */
  readonly rules?: ReadonlyMap<string, Rule>;
  readonly deliveries?: ReadonlyMap<string, Delivery>;
  /** The joined tables, by name; none when absent. Their tables are among `views`. */
  readonly joined?: ReadonlyMap<string, Joined>;
}

/** The names of the views that read a stream. */
export function viewsOfStream({ views }: Definitions, stream: string): string[] {
  return [...views.values()].filter(({ view }) => view.stream.name === stream).map(({ view }) => view.name);
}

/**
 * Finds the streams, views, joined tables, rules and deliveries in `folders` (every such export of every .ts file) and
 * checks them, names and SQL alike. A stream that no view reads is known too: it has a topic, and is archived. Throws
 * DEFINITION_INVALID that lists every problem with its file and field.
 */
export async function loadDefinitions(folders: DefinitionFolders): Promise<Definitions> {
  const views = new Map<string, Definition>();
  const rules = new Map<string, Rule>();
  const deliveries = new Map<string, Delivery>();
  const joined = new Map<string, Joined>();
  const streams = new Map<string, Stream>();
  const problems: string[] = [];
  const add = async (stream: Stream, shown: string) => {
    const known = streams.get(stream.name);
    if (known === stream) return;
    if (known !== undefined) problems.push(`${shown}: stream "${stream.name}" is defined twice`);
    const shape = checkStream(stream);
    const found = shape.length > 0 ? shape : await checkStreamSql(duck, stream);
    problems.push(...found.map((problem) => `${shown}: stream ${stream.name}: ${problem}`));
    streams.set(stream.name, stream);
  };
  const load = async (kind: Kind) => {
    const { modules, broken } = await modulesIn(folders[kind] ?? [], kind);
    problems.push(...broken);
    return modules;
  };
  const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256 });
  const duck = await pool.connect();
  try {
    for (const { shown, exported } of await load("schemas"))
      for (const stream of exported.filter(isStream)) await add(stream, shown);
    const addView = async (view: View, { file, shown }: Pick<LoadedModule, "file" | "shown">) => {
      if (!isStream(view.stream)) {
        problems.push(`${shown}: view ${view.name}: stream: no stream`);
        return;
      }
      await add(view.stream, shown);
      const shape = checkViewShape(view);
      const sound = shape.length === 0 && checkStream(view.stream).length === 0;
      const found = sound ? await checkViewSql(duck, view) : shape;
      problems.push(...found.map((problem) => `${shown}: view ${view.name}: ${problem}`));
      if (!sound) return;
      const other = views.get(view.name);
      if (other !== undefined)
        problems.push(`${shown}: name "${view.name}" is taken by ${relative(process.cwd(), other.file)}`);
      views.set(view.name, { view, generation: generationOf(view), file });
    };
    const addJoined = async (one: Joined, module: Pick<LoadedModule, "file" | "shown">) => {
      const told = `${module.shown}: joined table ${one.name}`;
      const shape = checkJoinedShape(one);
      if (shape.length > 0) return void problems.push(...shape.map((problem) => `${told}: ${problem}`));
      const before = problems.length;
      // A table that only a joined one names is a table like any other.
      for (const table of new Set(Object.values(one.tables))) {
        const isKnown = checkViewShape(table).length === 0 && views.get(table.name)?.generation === generationOf(table);
        if (!isKnown) await addView(table, module);
      }
      if (problems.length > before) return;
      problems.push(...(await checkJoinedSql(duck, one)).map((problem) => `${told}: ${problem}`));
      if (views.has(one.name) || joined.has(one.name)) problems.push(`${told}: its name is taken`);
      joined.set(one.name, one);
    };
    const ofViews = await load("views");
    for (const module of ofViews) for (const view of module.exported.filter(isView)) await addView(view, module);
    for (const module of ofViews) for (const one of module.exported.filter(isJoined)) await addJoined(one, module);
    const ruleFiles = new Map<string, string>();
    for (const { shown, exported } of await load("rules")) {
      for (const rule of exported.filter(isRule)) {
        if (!isStream(rule.on)) {
          problems.push(`${shown}: rule ${rule.name}: on: no stream`);
          continue;
        }
        await add(rule.on, shown);
        const shape = checkRuleShape(rule);
        const sound = shape.length === 0 && checkStream(rule.on).length === 0;
        const found = sound ? await checkRuleSql(duck, rule) : shape;
        problems.push(...found.map((problem) => `${shown}: rule ${rule.name}: ${problem}`));
        const other = ruleFiles.get(rule.name);
        if (other !== undefined) problems.push(`${shown}: rule "${rule.name}" is defined in ${other} already`);
        ruleFiles.set(rule.name, shown);
        rules.set(rule.name, rule);
      }
    }
    for (const { shown, exported } of await load("deliveries")) {
      for (const delivery of exported.filter(isDelivery)) {
        const found = checkDelivery(delivery, new Set(rules.keys()));
        problems.push(...found.map((problem) => `${shown}: delivery ${delivery.name}: ${problem}`));
        if (deliveries.has(delivery.name)) problems.push(`${shown}: delivery "${delivery.name}" is defined twice`);
        deliveries.set(delivery.name, delivery);
      }
    }
    if (rules.size + deliveries.size > 0) await add(alerts, "the stream of alerts");
  } finally {
    duck.closeSync();
    pool.close();
  }
  problems.push(...sharedTopics(folders.namespace ?? "", streams.values()));
  if (problems.length > 0)
    throw new TidelineError(
      "DEFINITION_INVALID",
      problems.join("\n"),
      "Correct the definition; nothing has been started.",
    );
  return { views, streams, rules, deliveries, joined };
}

/**
 * Streams that would read one topic, or dead letters: the archive of a topic holds what one contract made of its
 * records.
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
  /** Its path from where the process runs. */
  readonly shown: string;
  readonly exported: unknown[];
}

/** What the files of some folders export, file by file, and which of them cannot be loaded. */
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

import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve, sep } from "node:path";
import { topicOf } from "../../core/contract/topic-names.ts";
import { TidelineError } from "../../core/errors.ts";
import type { Discovery } from "../../discover/discover.ts";
import { viewText } from "../../discover/view/view-text.ts";
import { type Definitions, loadDefinitions } from "../../store/definitions/definitions.ts";
import type { Config } from "../setup/config.ts";

/** The folders that definitions are written to. */
export interface Target {
  readonly schemas: string;
  readonly views: string;
  /** The folder of a system that TIDELINE_SYSTEM has to name; null if settings name the folders already. */
  readonly system: string | null;
}

/** The default name of the user's system, if no setting names a folder. */
const OWN_SYSTEM = "my-system";

/** Returns the folders in `to`; else the last folders that the settings name; else folders below the current one. */
export function targetOf(config: Config, env: Readonly<Record<string, string | undefined>>, to?: string): Target {
  const isSet = (variable: string) => (env[variable] ?? "") !== "";
  const isNamed = isSet("TIDELINE_SYSTEM") || (isSet("TIDELINE_SCHEMAS") && isSet("TIDELINE_VIEWS"));
  if (to === undefined && isNamed) {
    const [schemas, views] = [config.schemas.at(-1), config.views.at(-1)];
    // A system without contracts of its own uses Tideline's.
    const own = isSet("TIDELINE_SCHEMAS") && schemas !== undefined ? schemas : join(config.system, "schemas");
    return { schemas: own, views: views ?? join(config.system, "views"), system: null };
  }
  const system = resolve(to ?? OWN_SYSTEM);
  const isUsed = isSet("TIDELINE_SYSTEM") && system === config.system;
  return { schemas: join(system, "schemas"), views: join(system, "views"), system: isUsed ? null : system };
}

/**
 * Returns the definitions in these folders; none if a folder does not exist. Throws DEFINITION_INVALID for definitions
 * that cannot be loaded.
 */
export async function definitionsAt({ schemas, views }: Target, namespace: string): Promise<Definitions> {
  const there = (folder: string) => (existsSync(folder) ? [folder] : []);
  return loadDefinitions({ namespace, schemas: there(schemas), views: there(views) });
}

/** Throws BAD_REQUEST if another stream reads the topic. */
export function requireFree({ streams }: Definitions, config: Config, topic: string, name: string): void {
  const reader = [...streams.values()].find((one) => one.name !== name && topicOf(config.namespace, one) === topic);
  if (reader === undefined) return;
  throw new TidelineError(
    "BAD_REQUEST",
    `topic "${topic}" is read by stream "${reader.name}" already`,
    `A topic has one stream: add a view of "${reader.name}", or replace that stream with --name ${reader.name} ` +
      "--force. --dry-run shows what would be written.",
  );
}

/** The files of a discovery, by their paths. */
export interface DefinitionFiles {
  readonly view: string;
  readonly texts: readonly (readonly [path: string, text: string])[];
}

export function filesOf({ stream, text, view }: Discovery, { schemas, views }: Target): DefinitionFiles {
  const name = view.by === null ? `${stream.name}-overview` : `${stream.name}-by-${view.by.field.replaceAll("_", "-")}`;
  const folder = relative(views, schemas).split(sep).join("/");
  const from = folder.startsWith(".") ? folder : `./${folder}`;
  const texts = [
    [join(schemas, `${stream.name}.ts`), text],
    [join(views, `${name}.ts`), viewText(stream.name, name, view, from)],
  ] as const;
  return { view: name, texts };
}

/** Loads a discovery's files from a temporary folder, with all checks of definitions. Throws DEFINITION_INVALID. */
export async function checkFiles(discovery: Discovery): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "tideline-discover-"));
  try {
    const target = { schemas: join(folder, "schemas"), views: join(folder, "views"), system: folder };
    await write(filesOf(discovery, target).texts, false);
    await loadDefinitions({ schemas: [target.schemas], views: [target.views] });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes files. Without `overwrite` throws BAD_REQUEST if one exists, and writes nothing. */
export async function write(texts: DefinitionFiles["texts"], overwrite: boolean): Promise<void> {
  const existing = texts.map(([path]) => path).filter((path) => existsSync(path));
  if (existing.length > 0 && !overwrite)
    throw new TidelineError(
      "BAD_REQUEST",
      `${existing.join(" and ")} exist${existing.length === 1 ? "s" : ""} already`,
      "Replace it with --force, choose another --name, or look at what would be written with --dry-run.",
    );
  for (const [path, text] of texts) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  }
}

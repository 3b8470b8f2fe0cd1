import { join } from "node:path";
import { z } from "zod";
import { TidelineError } from "../../core/errors.ts";
import { Comparison } from "../../core/log/documents.ts";
import { decimalText } from "../../core/measures/decimals.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import { type Definitions, loadDefinitions } from "../../store/definitions/definitions.ts";
import { Generations, type Living, type Part, type Unreadable } from "../../store/definitions/generations.ts";
import { DataDirectory } from "../../store/files/files.ts";
import type { Config } from "../setup/config.ts";
import { print } from "../terminal/sheet.ts";

/**
 * Returns every generation that is not retired (the served one first within its view), and those that this release
 * cannot read.
 */
export async function livingGenerations(
  config: Config,
  definitions: Definitions,
): Promise<{ readonly living: readonly Living[]; readonly unreadable: readonly Unreadable[] }> {
  const { generations } = open(config);
  return { living: await generations.all(definitions), unreadable: await generations.unreadable(definitions) };
}

/**
 * Returns the part of each generation in the form that is shown. A file's generation that somebody moved back from is
 * shown as kept: it is served only if somebody chooses it again.
 */
export async function shownParts(config: Config, living: readonly Living[]): Promise<Part[]> {
  const { generations } = open(config);
  const parts = living.map(async ({ definition: { view, generation }, part }): Promise<Part> => {
    if (part !== "next") return part;
    return (await generations.record(view.name))?.held?.over === generation ? "kept" : part;
  });
  return Promise.all(parts);
}

/** Serves the previously served generation again. Throws as `moveTo`. */
export async function moveBack(config: Config, view: string): Promise<void> {
  const { generations } = open(config);
  const records = await generations.records(view);
  if (records.length === 0) throw unknown(view);
  const previous = records.at(-1)?.previous ?? null;
  if (previous === null)
    throw new TidelineError(
      "BAD_REQUEST",
      `${view} has only ever had one generation`,
      "There is nothing to go back to.",
    );
  await moveTo(config, previous);
}

/** Serves `generation` from now on. Throws VIEW_UNKNOWN, BAD_REQUEST, NOT_READY, GENERATION_UNREADABLE. */
export async function moveTo(config: Config, generation: string): Promise<void> {
  const { generations, manifests } = open(config);
  const [view = ""] = generation.split(".");
  const files = await loadDefinitions(config);
  // Throws GENERATION_UNREADABLE if this release cannot read it.
  if (generation.includes(".")) await generations.definition(generation);
  const living = await generations.living(view, files.views.get(view) ?? null);
  const records = await generations.records(view);
  const record = records.at(-1);
  if (record === undefined) throw unknown(view);
  if (!living.some(({ definition }) => definition.generation === generation)) {
    const names = living.map(({ definition }) => definition.generation).join(", ");
    throw new TidelineError("BAD_REQUEST", `${generation} is not kept`, `There are: ${names}.`);
  }
  // A generation that was served before may have no version yet, and can answer from live state.
  const wasServed = records.some((earlier) => earlier.generation === generation);
  if (!wasServed && ((await manifests.newest(generation))?.version ?? 0) === 0)
    throw new TidelineError(
      "NOT_READY",
      `${generation} has no version yet`,
      "Wait until it has been built from the archive.",
    );
  if (record.generation === generation) {
    process.stdout.write(`${view}: ${generation} is served already\n`);
    return;
  }
  // The file's generation needs no hold: it would be served anyway, and a later release may compute it again.
  const held = files.views.get(view)?.generation === generation ? null : { over: record.generation };
  if (!(await generations.move(record, generation, { held, by: "tideline views" })))
    throw new TidelineError(
      "NOT_READY",
      `${view}: somebody else moved it at the same moment`,
      "Look at `tideline views`.",
    );
  process.stdout.write(`${view}: ${generation} is served from now on; ${record.generation} is kept\n`);
  if (!(await generations.follows(generation)))
    process.stdout.write(
      "Another release computed it, and this one computes it otherwise: it " +
        "answers from its newest version, and does not grow.\n",
    );
}

/** Prints how the newest generation differs from the one before it. Throws VIEW_UNKNOWN, NOT_READY. */
export async function showComparison(config: Config, view: string, json: boolean): Promise<void> {
  const { generations } = open(config);
  const records = await generations.records(view);
  if (records.length === 0) throw unknown(view);
  const stored = await generations.stored(view);
  const [served, previous] = [records.at(-1)?.generation ?? "", records.at(-1)?.previous ?? ""];
  const pairs = [
    ...stored.map((next) => [next, served] as const),
    [served, previous] as const,
    [previous, served] as const,
  ];
  for (const [next, before] of pairs) {
    const comparison = await generations.comparison(next, before);
    if (comparison !== null) return show(await inUnits(generations, comparison), json);
  }
  throw new TidelineError(
    "NOT_READY",
    `no two generations of ${view} have been compared`,
    "Change its file and start again.",
  );
}

/** Returns a comparison with its totals in the units of answers: state stores decimals as integers. */
async function inUnits(generations: Generations, comparison: Comparison): Promise<Comparison> {
  const sides = { served: comparison.served, next: comparison.next } as const;
  const [served, next] = await Promise.all(
    Object.values(sides).map(async (generation) => (await generations.definition(generation))?.view.measures ?? {}),
  );
  const measures = comparison.measures.map((one) => {
    const { measure, totals } = one;
    if (totals === null) return one;
    const text = (units: string, scale = 0) => decimalText(BigInt(units), scale);
    return {
      ...one,
      totals: {
        served: text(totals.served, served?.[measure]?.scale),
        next: text(totals.next, next?.[measure]?.scale),
      },
    };
  });
  return { ...comparison, measures };
}

async function show(comparison: Comparison, json: boolean): Promise<void> {
  const { served, next, cut, by, groups, measures, notComparable } = comparison;
  if (!json) {
    const at = [...cut].map(([partition, position]) => `${partition}:${position}`);
    process.stdout.write(
      `${served} against ${next}, both at ${at.join(" ")}, by bucket${by.map((name) => `, ${name}`).join("")}\n`,
    );
    process.stdout.write(
      `groups: ${groups.both} in both, ${groups.servedOnly} only before, ${groups.nextOnly} only now\n`,
    );
    if (notComparable.length > 0) process.stdout.write(`not in both: ${notComparable.join(", ")}\n`);
  }
  const sheet = {
    head: ["measure", "groups equal", "groups different", "total before", "total now"],
    right: ["groups equal", "groups different", "total before", "total now"],
    rows: measures.map(({ measure, equal, different, totals }) => [
      measure,
      `${equal}`,
      `${different}`,
      totals?.served ?? "-",
      totals?.next ?? "-",
    ]),
  };
  await print(json, z.encode(Comparison, comparison), sheet, "no measure is in both");
}

function open(config: Config) {
  const data = new DataDirectory(join(config.home, "data"));
  return { generations: new Generations(data), manifests: new Manifests(data) };
}

function unknown(view: string): TidelineError {
  return new TidelineError(
    "VIEW_UNKNOWN",
    `no view "${view}" has been served here`,
    "`tideline views` lists them; is TIDELINE_HOME right?",
  );
}

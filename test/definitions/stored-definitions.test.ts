import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { moveBack } from "../../cli/operations/generations.ts";
import { loadConfig } from "../../cli/setup/config.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { type View, view } from "../../core/definition/view.ts";
import { position } from "../../core/log/position.ts";
import { count } from "../../core/measures/kinds/count.ts";
import type { RedisGate } from "../../serving/read/live/redis-gate.ts";
import { ViewStatuses } from "../../serving/read/live/view-status.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import type { Definitions } from "../../store/definitions/definitions.ts";
import { Generations } from "../../store/definitions/generations.ts";
import { DATA_FORMAT } from "../../store/files/data-format.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { sales } from "../fixtures/events/sales.ts";

/** A data directory that another release has written to. */

let home: string;
let homes = 0;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-stored-"));
});
afterAll(() => rm(home, { recursive: true }));

const hourly = (name: string) => view(name, { stream: sales, by: {}, every: "1 hour", measures: { sales: count() } });
const daily = (name: string) => view(name, { stream: sales, by: {}, every: "1 day", measures: { sales: count() } });

function definitions(...views: View[]): Definitions {
  const all = views.map((one) => [one.name, { view: one, generation: generationOf(one), file: "test" }] as const);
  return { views: new Map(all), streams: new Map([[sales.name, sales]]) };
}

/**
 * A directory in which `takings` is served by a generation with this definition and these components, under a hash that
 * this release does not give it.
 */
async function written({ definition = (text: string) => text, components = (text: string) => text } = {}) {
  const data = new DataDirectory(join(home, String(++homes)));
  const before = definitions(hourly("takings"), hourly("others"));
  await new Generations(data).register(before, "test");
  const served = generationOf(hourly("takings"));
  const other = "takings.0123456789ab";
  for (const [name, change] of [
    ["definition.json", definition],
    ["components.json", components],
  ] as const) {
    const text = change(await readFile(data.path(join("views", served, name)), "utf8"));
    if (text !== "") await data.replace(join(await folder(data, other), name), text);
  }
  await data.removeFolder(join("views", served));
  const generations = new Generations(data);
  const record = await generations.record("takings");
  if (record === null) throw new Error("takings has no record");
  await generations.move(record, other, { held: null, by: "test" });
  return { data, other, generations: new Generations(data) };
}

async function folder(data: DataDirectory, generation: string): Promise<string> {
  const name = join("views", generation);
  await data.remove(await data.attempt(name, ".made", "tmp"));
  return name;
}

const shown = async (generations: Generations, files: Definitions) =>
  (await generations.all(files)).map(({ definition, part }) => [definition.generation, part, definition.frozen]);

describe("a served generation that this release computes otherwise", () => {
  const next = generationOf(daily("takings"));
  const others = generationOf(hourly("others"));
  const files = definitions(daily("takings"), hourly("others"));

  test("is frozen: found and living, but not followed, and its stream is not kept for it", async () => {
    const { generations, other } = await written();
    await generations.register(files, "test");
    expect(await shown(generations, files)).toEqual([
      [others, "served", undefined],
      [other, "served", true],
      [next, "next", undefined],
    ]);
    expect(await generations.find("takings", files)).toMatchObject({ generation: other, frozen: true });
    expect([await generations.follows(other), await generations.follows(next)]).toEqual([false, true]);
    expect((await generations.reading("sales", files)).map(({ generation }) => generation)).toEqual([others, next]);
    expect(await generations.unreadable(files)).toEqual([]);
  });

  test("is answered from its newest version, and nobody asks Redis for its live state", async () => {
    const { data, generations, other } = await written();
    const manifests = new Manifests(data);
    await manifests.genesis(other, new Map([[0, position(7)]]), "a topic", "test");
    const gate = {
      ask: () => Promise.reject(new Error("Redis was asked")),
    } as unknown as RedisGate;
    const statuses = new ViewStatuses({ manifests, gate, namespace: "" });
    const found = await statuses.find(await generations.find("takings", files));
    expect(found).toMatchObject({
      manifest: { generation: other, version: 0 },
      chain: null,
      missing: { code: "FROZEN" },
    });
    expect(found.applied).toEqual(new Map([[0, 7n]]));
  });

  test("is frozen too when the release that wrote it did not tell its components", async () => {
    const { generations, other } = await written({ components: () => "" });
    expect(await generations.find("takings", files)).toMatchObject({ generation: other, frozen: true });
  });

  test.each([
    [
      "has fields that this release does not know",
      { definition: (text: string) => text.replace("{", '{ "colour": 1,') },
      "colour",
    ],
    [
      "has a kind of measure that this release does not have",
      { definition: (text: string) => text.replace('"count"', '"mode"') },
      "mode",
    ],
    ["is not JSON", { definition: (text: string) => text.slice(0, 40) }, "JSON"],
    ["has state of other components", { components: (text: string) => text.replace('"sum"', '"max"') }, "components"],
  ])("cannot be read when it %s, and that is an error of this view alone", async (_, change, says) => {
    const { generations, other } = await written(change);
    await generations.register(files, "test");
    expect(await shown(generations, files)).toEqual([
      [others, "served", undefined],
      [next, "next", undefined],
    ]);
    const error = expect.objectContaining({ code: "GENERATION_UNREADABLE", message: expect.stringContaining(says) });
    expect(await generations.unreadable(files)).toEqual([
      { view: "takings", generation: other, part: "served", error },
    ]);
    await expect(generations.find("takings", files)).rejects.toEqual(error);
    expect(await generations.find("others", files)).toMatchObject({ generation: others });
    expect([...(await generations.parts("takings", files.views.get("takings") ?? null))]).toEqual([
      [other, "served"],
      [next, "next"],
    ]);
  });

  test("keeps its components when the release that follows it meets it first", async () => {
    const { data, generations } = await written();
    const file = data.path(join("views", others, "components.json"));
    await rm(file);
    await generations.register(definitions(daily("takings")), "test");
    expect(JSON.parse(await readFile(file, "utf8"))).toEqual({
      components: [{ key: "rows", form: "integer", merge: "sum" }],
    });
  });
});

describe("the format of a data directory", () => {
  const program = join(process.cwd(), "cli", "tideline.js");
  const command = (place: string, ...args: string[]) =>
    execa(process.execPath, [program, ...args], { env: { TIDELINE_HOME: place }, reject: false });

  test("is written when a role begins, also over that of an older release", async () => {
    const data = new DataDirectory(join(home, "older"));
    const format = async () => JSON.parse(await data.text("format.json")) as unknown;
    await new Generations(data).register(definitions(), "test");
    expect(await format()).toEqual({ format: DATA_FORMAT });
    await data.replace("format.json", '{ "format": 1, "colour": "blue" }');
    await new Generations(data).register(definitions(), "test");
    expect(await format()).toEqual({ format: DATA_FORMAT });
  });

  test("of a newer release is refused before anything is read or written, by roles and commands alike", async () => {
    const place = join(home, "newer");
    const data = new DataDirectory(join(place, "data"));
    await folder(data, "revenue.0123456789ab");
    await writeFile(data.path("format.json"), `{ "format": ${DATA_FORMAT + 1}, "colour": "blue" }`);
    await expect(new Generations(data).register(definitions(hourly("takings")), "test")).rejects.toMatchObject({
      code: "DATA_NEWER",
    });
    expect(await data.list(".")).toEqual(["format.json", "views"]);
    for (const args of [["speed"], ["up", "--home", place]]) {
      const { exitCode, stderr } = await command(place, ...args);
      expect([exitCode, stderr]).toEqual([1, expect.stringContaining("error DATA_NEWER: a newer release has written")]);
      expect(stderr).toContain("what to do: Start the newer release. Or restore the backup");
    }
  });
});

test("one goes back to a generation that was served, be it that nothing of it was published yet", async () => {
  const own = join(home, "back");
  const generations = new Generations(new DataDirectory(join(own, "data")));
  await generations.register(definitions(hourly("takings")), "test");
  await generations.register(definitions(daily("takings")), "test");
  const record = await generations.record("takings");
  if (record === null) throw new Error("takings has no record");
  await generations.move(record, generationOf(daily("takings")), { held: null, by: "test" });
  const config = loadConfig({ TIDELINE_HOME: own });
  await moveBack(config, "takings");
  expect((await generations.record("takings"))?.generation).toBe(generationOf(hourly("takings")));
});

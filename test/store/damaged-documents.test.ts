import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { generationOf } from "../../core/definition/generation.ts";
import { view } from "../../core/definition/view.ts";
import { position } from "../../core/log/position.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { viewOverviews } from "../../serving/operations/overview.ts";
import type { RedisGate } from "../../serving/read/live/redis-gate.ts";
import { ViewStatuses } from "../../serving/read/live/view-status.ts";
import { Manifests, manifestDocument } from "../../store/archive/manifests.ts";
import type { Definitions } from "../../store/definitions/definitions.ts";
import { Generations } from "../../store/definitions/generations.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { sales } from "../fixtures/events/sales.ts";

/** Documents of the data directory that cannot be read: an error with the document's name, of its view alone. */

let home: string;
let homes = 0;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-damaged-"));
});
afterAll(() => rm(home, { recursive: true }));

const definitions = ["sound", "damaged"].map((name) => {
  const one = view(name, { stream: sales, by: {}, every: "1 hour", measures: { sales: count() } });
  return { view: one, generation: generationOf(one), file: "test" };
});
const files: Definitions = {
  views: new Map(definitions.map((one) => [one.view.name, one])),
  streams: new Map([[sales.name, sales]]),
};
const [sound, broken] = definitions.map(({ generation }) => generation) as [string, string];

/** Two views with a version each. */
async function place() {
  const data = new DataDirectory(join(home, String(++homes)));
  const generations = new Generations(data);
  await generations.register(files, "test");
  for (const { generation } of definitions)
    await new Manifests(data).genesis(generation, new Map([[0, position(7)]]), "topic", "test");
  return { data, generations };
}

/** What may happen to a document. A folder in its place stands for what the system does not let a process read. */
const DAMAGE: readonly (readonly [string, (data: DataDirectory, name: string) => Promise<unknown>])[] = [
  ["is empty", (data, name) => data.replace(name, "")],
  ["is cut off", async (data, name) => data.replace(name, (await data.text(name)).slice(0, 60))],
  ["is other JSON", (data, name) => data.replace(name, "[]")],
  [
    "may not be read",
    async (data, name) => {
      await data.remove(name);
      await mkdir(data.path(name));
    },
  ],
];

describe.each(DAMAGE)("a document that %s", (_, damage) => {
  test("as a view's manifest is a named problem of that view, and the others are listed", async () => {
    const { data } = await place();
    const name = manifestDocument(broken, 0);
    await damage(data, name);
    const gate = { ask: () => Promise.resolve(null) } as unknown as RedisGate;
    const statuses = new ViewStatuses({ manifests: new Manifests(data), gate, namespace: "" });
    const found = await viewOverviews(statuses, definitions);
    expect(found.map(({ status, damage: error }) => [status?.manifest.version, error?.code])).toEqual([
      [0, undefined],
      [undefined, "ARCHIVE_DAMAGED"],
    ]);
    expect(found[1]?.damage?.message).toContain(`${name} cannot be read`);
    expect(found[1]?.damage?.message).not.toContain(home);
  });

  test("as a serving record is a named problem of its view: roles start, and follow the others", async () => {
    const { data } = await place();
    const name = join("serving", "damaged", "000000001.json");
    await damage(data, name);
    const generations = new Generations(data);
    await generations.register(files, "test");
    const living = await generations.all(files);
    expect(living.map(({ definition, part }) => [definition.generation, part])).toEqual([[sound, "served"]]);
    const error = expect.objectContaining({
      code: "ARCHIVE_DAMAGED",
      message: expect.stringContaining(`${name} cannot be read`),
    });
    expect(await generations.unreadable(files)).toEqual([
      { view: "damaged", generation: broken, part: "served", error },
    ]);
  });
});

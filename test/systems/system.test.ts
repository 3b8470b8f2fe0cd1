import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hasOwnDefinitions, loadConfig } from "../../cli/setup/config.ts";
import { loadSystem, simulationOf } from "../../cli/setup/system.ts";

/** What `TIDELINE_SYSTEM` names: the folder of a system, here one that a user wrote. */

const SYSTEM = `
export const system = {
  examples: ["tideline greet ann   greets her"],
  commands(program: {
    command(name: string): { description(text: string): { action(run: (name: string) => void): void } };
  }) {
    program.command("greet <name>").description("greets").action((name) => console.log("hello " + name));
  },
};
`;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-system-"));
  await mkdir(join(folder, "views"));
  await writeFile(join(folder, "system.ts"), SYSTEM);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("a system's folder", () => {
  test("holds its views, and its contracts where it has some", async () => {
    const { system, views, schemas } = loadConfig({ TIDELINE_SYSTEM: folder });
    expect({ system, views, schemas }).toEqual({
      system: folder,
      views: [join(folder, "views")],
      schemas: [join(process.cwd(), "schemas")],
    });
    await mkdir(join(folder, "schemas"));
    expect(loadConfig({ TIDELINE_SYSTEM: folder }).schemas).toEqual([join(folder, "schemas")]);
    expect(loadConfig({ TIDELINE_SYSTEM: folder, TIDELINE_VIEWS: "a,b" }).views).toHaveLength(2);
  });

  test("is the shop's by default", async () => {
    const { system, views, schemas } = loadConfig({});
    const shop = join(process.cwd(), "systems", "shop");
    expect({ system, views, schemas }).toEqual({
      system: shop,
      views: [join(shop, "views")],
      schemas: [join(process.cwd(), "schemas")],
    });
    expect((await (await loadSystem(system)).report?.())?.views).toEqual(["revenue", "top-products"]);
  });

  test("is simulated, unless somebody has definitions of his own", async () => {
    const shop = await loadSystem(loadConfig({}).system);
    const simulated = (env: Record<string, string>, wanted?: boolean) =>
      simulationOf(shop, wanted, hasOwnDefinitions(env))?.title;
    expect([simulated({}), simulated({ TIDELINE_VIEWS: "" }), simulated({}, false)]).toEqual([
      "Simulated shop",
      "Simulated shop",
      undefined,
    ]);
    for (const env of [{ TIDELINE_VIEWS: "a" }, { TIDELINE_SCHEMAS: "a" }])
      expect([simulated(env), simulated(env, true)]).toEqual([undefined, "Simulated shop"]);
    const own = await loadSystem(folder);
    expect(simulationOf(own, undefined, false)).toBeNull();
    expect(() => simulationOf(own, true, false)).toThrow("the system has no simulation");
  });

  test("adds commands and examples, in place of the shop's", async () => {
    const tideline = (...args: string[]) =>
      execa(process.execPath, ["cli/tideline.js", ...args], { env: { TIDELINE_SYSTEM: folder }, reject: false });
    const [greeting, help, replay] = await Promise.all([
      tideline("greet", "ann"),
      tideline("--help"),
      tideline("replay"),
    ]);
    expect(greeting.stdout).toBe("hello ann");
    expect(help.stdout).toContain("$ tideline greet ann   greets her");
    expect(help.stdout).not.toMatch(/flights|simulate/);
    expect(replay.exitCode).toBe(2);
  });

  test("that is not there, or whose file is wrong, is an error that names it", async () => {
    await expect(loadSystem(join(folder, "none"))).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining(join(folder, "none")),
    });
    await expect(loadSystem(join(folder, "views"))).resolves.toEqual({});
    for (const [name, text, message] of [
      ["throws", "throw new Error('no luck');", /system\.ts cannot be loaded: no luck$/],
      ["empty", "export const other = 1;", /system\.ts exports no object named `system`$/],
    ] as const) {
      await mkdir(join(folder, name));
      await writeFile(join(folder, name, "system.ts"), text);
      await expect(loadSystem(join(folder, name))).rejects.toMatchObject({
        code: "CONFIG_INVALID",
        message: expect.stringMatching(message),
      });
    }
  });
});

import { expect, test } from "vitest";
import { versionsInGrace } from "../../batch-layer/versions/publish.ts";
import type { Manifest } from "../../core/log/documents.ts";
import { position } from "../../core/log/position.ts";
import type { Manifests } from "../../store/archive/manifests.ts";

const READERS_MS = 15_000;

/** How many versions before the newest are kept for readers; each moved the cut, and was created so long ago. */
async function heldOf(...agesMs: readonly number[]): Promise<number> {
  const versions = agesMs.map(
    (ageMs, version) =>
      ({
        version,
        base: new Map([[0, position(version)]]),
        cut: new Map([[0, position(version + 1)]]),
        createdAtMs: Date.now() - ageMs,
      }) as unknown as Manifest,
  );
  const manifests = {
    version: async (_: string, version: number) => versions[version] ?? null,
  } as unknown as Manifests;
  return (await versionsInGrace({ manifests, readersMs: READERS_MS }, versions.at(-1) as Manifest)).length;
}

test("a version is kept until two have followed and its readers have had their time", async () => {
  expect(await heldOf(90_000, 60_000, 30_000, 0)).toBe(1);
  expect(await heldOf(90_000, 60_000, 10_000, 0)).toBe(2);
  expect(await heldOf(90_000, 8_000, 4_000, 0)).toBe(3);
});

test("versions of a clock that was ahead are kept no longer than others", async () => {
  const hourMs = 3_600_000;
  expect(await heldOf(90_000, -hourMs, -hourMs, -hourMs)).toBe(1);
});

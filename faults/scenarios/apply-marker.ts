import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** What an `apply` on its way to Redis contains: the digest by which EVALSHA names the script. */
export async function applyMarker(program: string): Promise<string> {
  const hash = createHash("sha1");
  for (const part of ["common.lua", "values.lua", "apply.lua"])
    hash.update(await readFile(join(program, "store", "redis", "scripts", part)));
  return hash.digest("hex");
}
